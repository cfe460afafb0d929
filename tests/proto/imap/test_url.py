import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.fetch import Kind
from mailbox_app.proto.imap.url import parse_url


def test_an_absolute_path_names_mailbox_message_and_section() -> None:
    url = parse_url(b"/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.5.9.MIME/;PARTIAL=3.4")
    assert (url.user, url.host, url.mailbox, url.uidvalidity, url.uid) == (None, None, "Drafts", 385759045, 20)
    assert (url.section.part, url.section.kind, url.section.offset, url.section.count) == ((1, 5, 9), Kind.MIME, 3, 4)


@pytest.mark.parametrize(
    ("url", "mailbox", "uid"),
    [
        (b"/INBOX/;uid=7", "INBOX", 7),
        (b"/INBOX/;uid=7/", "INBOX", 7),
        (b"/a/b%2Fc%20d/;UID=1", "a/b/c d", 1),
        (b"/%C3%A4;uidvalidity=5/;uid=2/;section=text", "\u00e4", 2),
        (b";UID=9/;SECTION=HEADER", None, 9),
        (b"/;UID=9", None, 9),
        (b"imap://alice@mail.example.org/INBOX/;UID=3", "INBOX", 3),
        (b"imap://alice;AUTH=*@mail.example.org:993/INBOX/;UID=3", "INBOX", 3),
    ],
)
def test_forms(url: bytes, mailbox: str | None, uid: int) -> None:
    read = parse_url(url)
    assert (read.mailbox, read.uid) == (mailbox, uid)


def test_the_server_is_told() -> None:
    read = parse_url(b"imap://al%69ce@Mail.Example.org/INBOX/;UID=3/;SECTION=HEADER.FIELDS%20(From%20To)")
    assert (read.user, read.host, read.section.names) == ("alice", "mail.example.org", (b"from", b"to"))


@pytest.mark.parametrize(
    "url",
    [
        b"", b"/", b"INBOX", b"/INBOX", b"/INBOX/;UID=0", b"/INBOX/;UID=x", b"/INBOX/;UID=4294967296", b"/INBOX/;UID=1;",
        b"/INBOX/;UID=1/;SECTION=", b"/INBOX/;UID=1/;SECTION=nope", b"/INBOX/;UID=1/;PARTIAL=x", b"/INBOX?SUBJECT%20x",
        b"http://x/INBOX/;UID=1", b"imap://host", b"imap://host/;UID=1", b"/%FF/;UID=1", b"/a%0Ab/;UID=1",
        b"/INBOX/;UID=1/;SECTION=1;URLAUTH=anonymous", b"/x" + b"y" * 5000 + b"/;UID=1",
    ],
)  # fmt: skip
def test_what_names_no_message_is_refused(url: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_url(url)


@given(st.lists(st.sampled_from([b"/", b"imap://", b"INBOX", b";UID=", b"7", b";SECTION=", b"1.2", b"HEADER", b";PARTIAL=",
    b".", b"%2F", b"%", b"@", b":", b";UIDVALIDITY=", b"(", b"]", b" ", b"\xff", b";"]), max_size=25))  # fmt: skip
def test_no_url_does_more_than_be_refused(words: list[bytes]) -> None:
    try:
        read = parse_url(b"".join(words))
    except ProtocolError:
        return
    assert read.uid > 0
