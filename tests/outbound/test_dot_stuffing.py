from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.outbound.dot_stuffing import DotStuffer

LINES = st.lists(st.sampled_from([b".", b"..", b"", b"a", b".a", b"a.", b"longer line with . dots"]), max_size=20)


def unstuff(data: bytes) -> bytes:
    """What a server makes of it."""
    lines = data.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])


@given(LINES, st.binary(max_size=5).filter(lambda rest: not set(rest) & set(b"\r\n\0")), st.integers(1, 9))
def test_any_message_in_any_chunks_arrives_as_it_was(lines: list[bytes], rest: bytes, step: int) -> None:
    content = b"".join(line + b"\r\n" for line in lines) + rest
    stuffer = DotStuffer()
    sent = b"".join(stuffer.chunk(content[at : at + step]) for at in range(0, len(content), step)) + stuffer.end()
    assert unstuff(sent) == (content if not rest else content + b"\r\n")
    whole = DotStuffer()
    assert whole.chunk(content) + whole.end() == sent


def test_a_dot_after_a_bare_line_feed_cannot_end_the_message() -> None:
    assert b"\n.\n" not in DotStuffer().chunk(b"a\n.\nMAIL FROM:<x@y>\r\n")


@given(st.binary(max_size=60), st.integers(1, 9))
def test_only_whole_line_ends_leave_and_no_nul(content: bytes, step: int) -> None:
    stuffer = DotStuffer()
    sent = b"".join(stuffer.chunk(content[at : at + step]) for at in range(0, len(content), step)) + stuffer.end()
    assert sent.count(b"\r") == sent.count(b"\n") == sent.count(b"\r\n")
    assert b"\0" not in sent
    assert sent.endswith(b".\r\n")
