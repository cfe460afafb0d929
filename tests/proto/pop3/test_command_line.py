import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.pop3.command_line import CommandLine, numbers, parse


def test_keywords_are_of_any_case_and_the_rest_is_kept_as_it_came() -> None:
    assert parse(b"pass  a b ") == CommandLine("PASS", b" a b ", has_argument=True)
    assert parse(b"QUIT") == CommandLine("QUIT", b"", has_argument=False)


def test_trailing_spaces_are_no_argument() -> None:
    assert not parse(b"NOOP  ").has_argument


@pytest.mark.parametrize("line", [b"", b" NOOP", b"NO\0OP", b"PASS a\0b", b"PASS a\rb", b"\xff", b"x" * 17, b"NOOP\t1"])
def test_what_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(line)


@pytest.mark.parametrize("text", [b"x", b"-1", b"1 2 3", b"1x", b"99999999999", b"\xb2"])
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        numbers(text)


@given(st.binary(max_size=60))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        found = parse(line)
    except ProtocolError:
        return
    assert line.upper().startswith(found.verb.encode())
    assert found.argument in line
    try:
        read = numbers(found.argument)
    except ProtocolError:
        return
    assert all(0 <= number < 10**10 for number in read)
