"""A POP3 command line: a keyword and the rest. RFC 1939 3, RFC 2449 3."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError

_LINE = re.compile(rb"([A-Za-z0-9]{1,16})(?: (.*))?", re.DOTALL)
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_NUMBER = re.compile(rb"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """One command."""

    verb: str
    """Upper case."""
    argument: bytes
    """All behind the first space, as it came: a password may begin or end with one."""
    has_argument: bool


def parse(line: bytes) -> CommandLine:
    """Take a line apart; raises `pop3.bad_line`. Controls are in no command, least of all a NUL in a password."""
    found = _LINE.fullmatch(line)
    if found is None or _CONTROLS.search(line):
        raise _bad("Command expected")
    argument = found[2]
    return CommandLine(found[1].decode("ascii").upper(), argument or b"", bool(argument and argument.strip()))


def numbers(argument: bytes) -> list[int]:
    """Decimal numbers separated by spaces; raises `pop3.bad_line`."""
    words = argument.split()
    if len(words) > 2 or not all(_NUMBER.fullmatch(word) for word in words):
        raise _bad("Number expected")
    return [int(word) for word in words]


def _bad(text: str) -> ProtocolError:
    return ProtocolError("pop3.bad_line", text)
