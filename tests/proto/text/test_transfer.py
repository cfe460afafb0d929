from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.text.transfer import undo


def decode(encoding: bytes, data: bytes, piece_length: int) -> bytes:
    step = undo(encoding)
    pieces = [step(data[start : start + piece_length], False) for start in range(0, len(data), piece_length)]
    return b"".join(pieces) + step(b"", True)


@given(st.binary(max_size=300), st.integers(1, 80))
def test_base64_in_any_pieces(data: bytes, piece_length: int) -> None:
    assert decode(b"base64", base64.encodebytes(data), piece_length) == data


@given(st.binary(max_size=300), st.integers(1, 80))
def test_quoted_printable_in_any_pieces(data: bytes, piece_length: int) -> None:
    data = data.replace(b"\r", b"")
    assert decode(b"quoted-printable", quopri.encodestring(data), piece_length) == data


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"aGVs\x00bG8=", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"aGVs!bG8=--", b"hello"),
        (b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"a", b""),
        (b"====", b""),
    ],
)
def test_broken_base64_is_read_as_far_as_it_goes(data: bytes, wanted: bytes) -> None:
    assert decode(b"base64", data, 100) == wanted


@given(st.sampled_from([b"base64", b"quoted-printable", b"7bit", b"x-strange"]), st.binary(), st.integers(1, 30))
def test_nothing_fails(encoding: bytes, data: bytes, piece_length: int) -> None:
    assert len(decode(encoding, data, piece_length)) <= len(data)
