"""Messages written in an account's name: whatever the texts hold, the header is ours alone."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.delivery.generated import compose
from mailbox_app.delivery.notifications import read_mailto
from mailbox_app.proto.header import Header, header_end

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
FIELDS = [
    b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"x-more", b"in-reply-to", b"references",
    b"mime-version", b"content-type", b"content-transfer-encoding",
]  # fmt: skip
nasty = st.text(st.sampled_from('ab é\r\n\0:<>@"\\=?\u2028\U0001f600,;\t\x1b'), max_size=60) | st.text(max_size=200)


@given(nasty, nasty, nasty, st.binary(max_size=60))
def test_no_text_adds_a_field_ends_the_header_or_makes_a_long_line(
    subject: str, more: str, text: str, ids: bytes
) -> None:
    text = text.encode("utf-8", "replace").decode()
    answered = Header.parse(b"Message-ID: <a@b>\r\nReferences: <0@b> " + ids.replace(b"\n", b"") + b"\r\n\r\n")
    content = compose(
        sender="<alice@example.org>",
        recipients=["carol@remote.example"],
        subject=subject,
        auto_submitted="auto-replied",
        text=text,
        now=NOW,
        hostname="mail.example.org",
        answered=answered,
        further=[("X-More", more)],
    )
    end = header_end(content)
    assert [field.key for field in Header.parse(content[:end]).fields] == FIELDS
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.isascii()
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    if text.isprintable():
        assert message.get_content().rstrip("\r\n") == text


@given(st.text(max_size=80))
def test_any_uri_is_read_or_refused(text: str) -> None:
    for uri in (
        text,
        f"mailto:{text}",
        f"mailto:{quote(text)}",
        f"mailto:a@b.example?{text}",
        f"mailto:a@b.example?x-y={text}",
    ):
        found = read_mailto(uri)
        if found is not None:
            assert 1 <= len(found.recipients) <= 5
            assert all("\r" not in each and "\n" not in each for each in found.recipients)


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+1",
        "mailto:",
        "mailto:no address",
        "mailto:a@b.c,d@e.f,g@h.i,j@k.l,m@n.o,p@q.r",
        "xmpp:a@b.c",
        "mailto:a%0D%0Ab@c.d",
    ],
)
def test_what_is_no_mail_address_is_refused(uri: str) -> None:
    assert read_mailto(uri) is None


def test_a_uri_sets_no_field_that_says_who_and_when() -> None:
    found = read_mailto(
        "mailto:a@b.example?Received=x&DATE=y&Message-ID=z&Content-Type=t&List-Id=l&x-ok=1&Bcc=c%40d.example"
    )
    assert found is not None
    assert list(found.fields) == [("X-Ok", "1")]
    assert list(found.recipients) == ["a@b.example", "c@d.example"]
