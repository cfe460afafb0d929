from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.outbound.replies import Reply, ReplyReader, clean

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
REPLY = st.tuples(st.integers(200, 599), st.lists(TEXT, min_size=1, max_size=5))


def wire(code: int, lines: list[str]) -> bytes:
    last = len(lines) - 1
    return b"".join(f"{code}{'-' if at < last else ' '}{line}\r\n".encode() for at, line in enumerate(lines))


def read_all(reader: ReplyReader) -> list[Reply]:
    replies = []
    while (reply := reader.next_reply()) is not None:
        replies.append(reply)
    return replies


@given(st.lists(REPLY, max_size=5), st.integers(1, 7))
def test_any_chunking_gives_the_same_replies(given_replies: list[tuple[int, list[str]]], step: int) -> None:
    data = b"".join(wire(code, lines) for code, lines in given_replies)
    expected = [Reply(code, tuple(lines)) for code, lines in given_replies]
    whole = ReplyReader()
    whole.feed(data)
    assert read_all(whole) == expected
    pieces, found = ReplyReader(), []
    for at in range(0, len(data), step):
        pieces.feed(data[at : at + step])
        found += read_all(pieces)
    assert found == expected
    assert not pieces.pending


@given(REPLY, st.binary(min_size=1, max_size=20).filter(lambda rest: b"\n" not in rest))
def test_what_follows_a_reply_is_pending(given_reply: tuple[int, list[str]], rest: bytes) -> None:
    reader = ReplyReader()
    reader.feed(wire(*given_reply) + rest)
    assert reader.next_reply() == Reply(given_reply[0], tuple(given_reply[1]))
    assert reader.pending


@given(st.lists(st.binary(max_size=5000), max_size=40))
def test_any_bytes_give_replies_or_an_error_and_stay_bounded(chunks: list[bytes]) -> None:
    reader = ReplyReader()
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            reader.feed(chunk)
            for reply in read_all(reader):
                assert 200 <= reply.code <= 599
                assert len(reply.text) <= 512
                assert reply.text.isprintable()


@pytest.mark.parametrize("line", [b"", b"25", b"2500 x", b"150 x", b"abc", b"250x", b" 250 ok", b"EHLO x"])
def test_a_line_that_is_no_reply_is_an_error(line: bytes) -> None:
    reader = ReplyReader()
    reader.feed(line + b"\r\n")
    with pytest.raises(ProtocolError):
        reader.next_reply()


def test_endless_replies_are_an_error() -> None:
    reader = ReplyReader()
    with pytest.raises(ProtocolError):  # noqa: PT012
        for _ in range(100_000):
            reader.feed(b"250-x" * 10 + b"\r\n")
            reader.next_reply()


@pytest.mark.parametrize(
    ("code", "text", "enhanced"),
    [
        (250, "2.1.5 ok", "2.1.5"),
        (550, "5.7.26 no", "5.7.26"),
        (550, "5.1.1", "5.1.1"),
        (550, "4.2.1 wrong class", "5.0.0"),
        (451, "try later", "4.0.0"),
        (250, "2.1.5x", "2.0.0"),
    ],
)
def test_the_enhanced_status_is_the_servers_or_the_codes_class(code: int, text: str, enhanced: str) -> None:
    assert Reply(code, (text,)).enhanced == enhanced


@given(st.text())
def test_cleaned_text_is_printable_and_short(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) <= 512
