"""Requests of ManageSieve, and strings as the server writes them. RFC 5804 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.managesieve.answers import answer, string
from mailbox_app.proto.managesieve.grammar import parse, parse_string


def words(data: bytes) -> list[bytes | int]:
    request = parse(data)
    return list(request._words)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"LOGOUT", []),
        (b"noop  ", []),
        (b'PUTSCRIPT "a b" {5+}\r\nkeep;', [b"a b", b"keep;"]),
        (b'X {0+}\r\n ""', [b"", b""]),
        (b'X "a\\"b\\\\c"', [b'a"b\\c']),
        (b"HAVESPACE {1+}\r\nx 4294967295", [b"x", 4294967295]),
        (b'X "\xc3\xa9"', ["é".encode()]),
        (b'X {4+}\r\na\r\n\0 "b"', [b"a\r\n\0", b"b"]),
    ],
)
def test_words_are_read(data: bytes, expected: list[bytes | int]) -> None:
    assert words(data) == expected
    assert parse(data).verb == data.split()[0].decode().upper()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" NOOP",
        b'NOOP"x"',
        b'X "a',
        b'X "a\\b"',
        b'X "a\rb"',
        b'X "a\0b"',
        b"X {5+}\r\nabc",
        b"X {5}\r\nabcde",
        b"X {5+}abcde",
        b"X {99999999999+}\r\n",
        b"X 4294967296",
        b"X 12a",
        b"X atom",
        b'X "a""b"',
        b"X (a)",
        b"X" + b" 1" * 9,
        b"\xff",
    ],
)
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


def test_arguments_are_taken_one_by_one_and_their_kind_matters() -> None:
    request = parse(b'X "a" 5 "\xff"')
    assert request.text() == "a"
    with pytest.raises(ProtocolError, match="not a number"):
        request.string()
    with pytest.raises(ProtocolError, match="UTF-8"):
        request.text()
    request.end()
    with pytest.raises(ProtocolError, match="another argument"):
        request.string()
    with pytest.raises(ProtocolError, match="too many"):
        parse(b'X "a"').end()


@given(st.binary(max_size=2000))
def test_a_string_that_is_written_is_read_again(data: bytes) -> None:
    written = string(data)
    if written.startswith(b"{"):
        assert written == b"{%d}\r\n%b" % (len(data), data)
    else:
        assert parse_string(written) == data
        assert b"\n" not in written


def test_an_answer_has_a_code_and_a_text() -> None:
    assert answer("OK", "Done") == b'OK "Done"\r\n'
    assert answer("NO", 'a "b"', "QUOTA/MAXSIZE") == b'NO (QUOTA/MAXSIZE) "a \\"b\\""\r\n'
    assert answer("NO", "a\r\nb") == b"NO {4}\r\na\r\nb\r\n"


@given(st.binary(max_size=300))
def test_no_input_brings_anything_but_its_own_error(data: bytes) -> None:
    for start in (b"", b"X ", b'X "', b"X {3+}\r\n"):
        try:
            parse(start + data)
        except ProtocolError:
            continue
