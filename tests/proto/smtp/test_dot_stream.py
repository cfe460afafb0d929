from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.smtp.dot_stream import DotStream, LineEndings, line_fault, stuff

PIECES = st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.", b"\r\n.\r", b"bc" * 9, b"\r\n\r\n"])
NASTY = st.sampled_from([b"\r", b"\n", b"\0", b"\r\n", b".", b"a", b"\r\n.", b"\n.\n", b"\r.\r", b"\r\n.\r\n"])
CUTS = st.lists(st.integers(1, 9), max_size=60)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    chunks, position = [], 0
    for cut in cuts:
        chunks.append(data[position : position + cut])
        position += cut
    return [*chunks, data[position:]]


def read(chunks: list[bytes]) -> tuple[bytes, str, bytes, bool]:
    stream, content, rest = DotStream(), b"", b""
    for chunk in chunks:
        if stream.done:
            rest += chunk
        else:
            content += stream.feed(chunk)
    return content, stream.fault, stream.rest + rest, stream.done


@given(st.lists(PIECES).map(b"".join), CUTS, st.sampled_from([b"", b"MAIL FROM:<x@y>\r\n", b".\r\n", b"\r\n.\r\n"]))
def test_what_was_stuffed_comes_back_whatever_the_chunks_and_the_rest_is_left(
    text: bytes, cuts: list[int], rest: bytes
) -> None:
    lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"").replace(b"\n", b"\r\n")
    whole = lines if not lines or lines.endswith(b"\r\n") else lines + b"\r\n"
    assert read(chunked(stuff(lines) + rest, cuts)) == (whole, "", rest, True)


@given(st.lists(NASTY).map(b"".join), CUTS)
def test_any_chunking_gives_what_the_whole_gives(data: bytes, cuts: list[int]) -> None:
    whole, cut = read([data]), read(chunked(data, cuts))
    assert bool(whole[1]) == bool(cut[1])
    assert whole[2:] == cut[2:]
    assert whole[0] == cut[0] or whole[1]


@given(st.lists(NASTY).map(b"".join))
def test_content_with_a_fault_never_gets_through_and_the_end_is_the_first_exact_one(data: bytes) -> None:
    _, fault, rest, done = read([data[at : at + 1] for at in range(len(data))])
    end = (b"\r\n" + data).find(b"\r\n.\r\n")
    assert done == (end >= 0)
    if done:
        assert rest == data[end + 3 :]
        assert bool(fault) == bool(line_fault(data[:end]))


@pytest.mark.parametrize(
    ("wire", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a\r\n...\r\n.\r\n", b"a\r\n..\r\n"),
    ],
)
def test_dots(wire: bytes, content: bytes) -> None:
    assert read([wire]) == (content, "", b"", True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [(b"a\r\nb", ""), (b"a\nb", "a bare LF"), (b"a\rb", "a bare CR"), (b"a\r\r\n", "a bare CR"), (b"\0", "a NUL")],
)
def test_faults_are_named(data: bytes, fault: str) -> None:
    assert line_fault(data) == fault


@given(st.lists(NASTY).map(b"".join), CUTS)
def test_line_endings_of_counted_content_are_judged_alike_whatever_the_chunks(data: bytes, cuts: list[int]) -> None:
    endings = LineEndings()
    for chunk in chunked(data, cuts):
        endings.feed(chunk)
    endings.finish()
    assert bool(endings.fault) == bool(line_fault(data))
