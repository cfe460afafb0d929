"""A ManageSieve request: a verb, then strings and numbers, separated by spaces. RFC 5804 4.

`parse` takes a whole command as the framer gives it, literals included. Everything it refuses is a `ProtocolError`
with code `managesieve.*`; its text may be shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailbox_app.errors import ProtocolError

_VERB = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,31}(?= |$)")
_QUOTED = re.compile(rb'"((?:[^"\\\x00\r\n]|\\["\\])*+)"')
_ESCAPED = re.compile(rb"\\(.)")
_LITERAL = re.compile(rb"\{(\d{1,10})\+\}\r\n")
_NUMBER = re.compile(rb"\d{1,10}(?= |$)")
_MAX_NUMBER = (1 << 32) - 1
_MAX_WORDS = 8
"""No command takes more than two."""


class Request:
    """One command; handlers take its arguments one by one and say when there are to be no more."""

    __slots__ = ("_at", "_words", "verb")

    def __init__(self, verb: str, words: Sequence[bytes | int]) -> None:
        self.verb = verb
        """Upper case."""
        self._words = words
        self._at = 0

    @property
    def has_more(self) -> bool:
        """Whether an argument is left."""
        return self._at < len(self._words)

    def string(self) -> bytes:
        """The next argument, as it is."""
        word = self._next()
        if isinstance(word, int):
            raise refused("a string was expected, not a number")
        return word

    def text(self) -> str:
        """The next argument, which must be UTF-8."""
        try:
            return self.string().decode("utf-8")
        except UnicodeDecodeError as error:
            raise refused("this is not UTF-8") from error

    def number(self) -> int:
        """The next argument, 32 bits at most."""
        word = self._next()
        if not isinstance(word, int):
            raise refused("a number was expected, not a string")
        return word

    def end(self) -> None:
        """Nothing may be left."""
        if self.has_more:
            raise refused(f"too many arguments for {self.verb}")

    def _next(self) -> bytes | int:
        if not self.has_more:
            raise refused(f"{self.verb} needs another argument")
        self._at += 1
        return self._words[self._at - 1]


def parse(data: bytes) -> Request:
    """Take a whole command apart."""
    found = _VERB.match(data)
    if found is None:
        raise refused("a command was expected")
    return Request(found[0].decode("ascii").upper(), _words(data, found.end()))


def parse_string(data: bytes) -> bytes:
    """A line that is one string: what a client says within AUTHENTICATE."""
    words = _words(b" " + data, 0)
    if len(words) != 1 or isinstance(words[0], int):
        raise refused("one string was expected")
    return words[0]


def refused(text: str) -> ProtocolError:
    """The error of this grammar."""
    return ProtocolError("managesieve.bad_command", text)


def _words(data: bytes, at: int) -> list[bytes | int]:
    words: list[bytes | int] = []
    while at < len(data):
        if data[at] != 0x20:
            raise refused("a space was expected between arguments")
        while data[at : at + 1] == b" ":
            at += 1
        if at == len(data):
            break
        if len(words) == _MAX_WORDS:
            raise refused("too many arguments")
        word, at = _word(data, at)
        words.append(word)
    return words


def _word(data: bytes, at: int) -> tuple[bytes | int, int]:
    if found := _QUOTED.match(data, at):
        text = found[1]
        return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text, found.end()
    if found := _LITERAL.match(data, at):
        start, end = found.end(), found.end() + int(found[1])
        if end > len(data):
            raise refused("a literal is too short")
        return data[start:end], end
    if found := _NUMBER.match(data, at):
        number = int(found[0])
        if number > _MAX_NUMBER:
            raise refused("this number is too large")
        return number, found.end()
    raise refused("a string or a number was expected")
