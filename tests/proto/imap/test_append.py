import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.append import AppendReader, Begin, Data, End, Step, Url
from mailbox_app.proto.imap.grammar import Cursor, Flags

PLAIN = Begin(Flags((), ()), None, catenated=False)
PARTS = Begin(Flags((), ()), None, catenated=True)


def read(*texts: bytes) -> list[list[Step]]:
    reader = AppendReader()
    answers = []
    for text in texts:
        cursor = Cursor(text)
        answers.append(reader.read(cursor))
        cursor.end()
    return answers


def test_one_message() -> None:
    assert read(rb'(\Seen kw) "05-Jan-2026 10:00:00 +0100" {5}', b"") == [
        [Begin(Flags((b"\\seen",), ("kw",)), 1767603600, catenated=False), Data(5, True, False)],
        [End()],
    ]


def test_several_messages() -> None:
    assert read(b"{5+}", b" () ~{6}", b"") == [
        [PLAIN, Data(5, False, False)],
        [End(), PLAIN, Data(6, True, True)],
        [End()],
    ]


def test_catenate_alone_and_followed_by_another() -> None:
    assert read(b'CATENATE (URL "/a" URL b TEXT {3}', b" URL c) CATENATE (URL d) {2+}", b"") == [
        [PARTS, Url(b"/a"), Url(b"b"), Data(3, True, False)],
        [Url(b"c"), End(), PARTS, Url(b"d"), End(), PLAIN, Data(2, False, False)],
        [End()],
    ]


def test_a_literal_that_ends_catenate() -> None:
    assert read(b"catenate (text {3}", b" text {4}", b")") == [
        [PARTS, Data(3, True, False)],
        [Data(4, True, False)],
        [End()],
    ]


def test_utf8_has_parentheses() -> None:
    assert read(b"UTF8 (~{3}", b") {1}", b"") == [
        [PLAIN, Data(3, True, True)],
        [End(), PLAIN, Data(1, True, False)],
        [End()],
    ]
    assert read(b"CATENATE (UTF8 (~{3}", b") URL x)")[1] == [Url(b"x"), End()]


def test_a_url_as_literal_is_read_when_it_is_there() -> None:
    reader = AppendReader()
    reader.read(Cursor(b"CATENATE (TEXT {3}"))
    with pytest.raises(ProtocolError):
        reader.read(Cursor(b" URL {2}"))
    assert reader.read(Cursor(b" URL {2}\r\n/a)")) == [Url(b"/a"), End()]


@pytest.mark.parametrize(
    "texts",
    [
        [b""], [b"(\\Seen)"], [b"{5} "], [b"{5}", b"x"], [b"{5}", b" "], [b"CATENATE ()"], [b"CATENATE (URL x"],
        [b"CATENATE (TEXT x)"], [b"CATENATE (TEXT {3}", b""], [b"UTF8 (~{3}", b""], [b"UTF8 ({3}", b")x"], [b'"never" {3}'],
        [b"CATENATE (NOTHING {3}"],
    ],
)  # fmt: skip
def test_wrong_syntax_is_refused(texts: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        read(*texts)


WORDS = [b"CATENATE (", b"URL ", b"x", b"TEXT ", b"{3}", b"~{3+}", b" ", b")", b"UTF8 (", b"(\\Seen)"]


@given(st.lists(st.sampled_from(WORDS), max_size=20))
def test_a_reader_that_refuses_stands_where_it_stood(words: list[bytes]) -> None:
    reader = AppendReader()
    before = reader.place
    try:
        steps = reader.read(Cursor(b"".join(words)))
    except ProtocolError:
        assert reader.place is before
    else:
        assert isinstance(steps[0], Begin)
        assert isinstance(steps[-1], Data | End)
