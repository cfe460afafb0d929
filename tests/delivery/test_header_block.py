from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.delivery.header_block import HEADER_LIMIT_BYTES, Tail, read_header, rest_behind
from mailbox_app.proto.smtp.replies import Refusal


@pytest.mark.parametrize(
    ("content", "header"),
    [
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"\r\nbody\r\n\r\nmore", b"\r\n"),
        (b"A: b\r\n\r\nbody\r\n\r\n", b"A: b\r\n\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
    ],
)
def test_header_and_rest_make_the_whole_in_memory_and_in_a_file(tmp_path: Path, content: bytes, header: bytes) -> None:
    path = tmp_path / "content"
    path.write_bytes(content)
    with open(path, "rb", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        for body in (content, file):
            assert read_header(body) == header
            rest = rest_behind(body, len(header))
            assert (rest if isinstance(rest, bytes) else rest.read()) == content[len(header) :]


def test_a_header_up_to_the_limit_is_read_and_a_larger_one_refused() -> None:
    fits = b"A: " + b"x" * (HEADER_LIMIT_BYTES - 5) + b"\r\n"
    assert read_header(fits + b"\r\nbody") == fits + b"\r\n"
    with pytest.raises(Refusal):
        read_header(fits + b"B: c\r\n\r\n")


@given(st.binary(max_size=50), st.integers(0, 60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20))))
def test_a_tail_reads_like_a_file_of_its_own(content: bytes, offset: int, steps: list[tuple[int, int]]) -> None:
    descriptor = os.memfd_create("tail")
    with open(descriptor, "w+b", buffering=0) as file:
        file.write(content)
        tail, wanted = Tail(file, offset), io.BytesIO(content[offset:])
        assert tail.seek(0, os.SEEK_END) == wanted.seek(0, os.SEEK_END)
        for position, count in steps:
            assert tail.seek(position) == wanted.seek(position)
            assert tail.read(count) == wanted.read(count)
            assert tail.seek(0, os.SEEK_CUR) == wanted.seek(0, os.SEEK_CUR) or position > len(content) - offset
