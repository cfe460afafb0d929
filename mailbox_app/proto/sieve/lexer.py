"""Sieve's words: identifiers, tags, numbers, strings and marks, each with its place. RFC 5228 2 and 8.1."""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import Enum
from typing import NamedTuple

from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.limits import Limits


class Kind(Enum):
    """What a lexeme is."""

    WORD = "a name"
    TAG = "a tag"
    NUMBER = "a number"
    STRING = "a string"
    MARK = "a mark"
    END = "the end of the script"


class Lexeme(NamedTuple):
    """One word of a script."""

    kind: Kind
    text: str
    """Without quotes and escapes; tags without their colon."""
    number: int
    position: int
    """In characters of the source."""


# Possessive: linear on any input. What no branch takes is an error at that place.
_LEXEME = re.compile(
    r"""(?P<space>(?:[ \t\r\n]++|\#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)++)
    |(?P<multiline>text:[ \t]*+(?:\#[^\n]*+)?+\r?\n)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*+)
    |:(?P<tag>[A-Za-z_][A-Za-z0-9_]*+)
    |(?P<number>[0-9]++)(?P<unit>[KMGkmg]?+)(?![A-Za-z0-9_])
    |"(?P<string>[^"\\]*+(?:\\.[^"\\]*+)*+)"
    |(?P<mark>[\[\](){},;])""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LINE_END = re.compile(r"(?<!\r)\n")
_TEXT_END = re.compile(r"^\.\r?(?:\n|\Z)", re.MULTILINE)
_STUFFED = re.compile(r"^\.(?=\.)", re.MULTILINE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}  # RFC 5228 2.4.1
_MOST = (1 << 63) - 1


class Places:
    """Turns positions of a source into lines and columns."""

    def __init__(self, source: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]

    def of(self, position: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = bisect_right(self._starts, position)
        return line, position - self._starts[line - 1] + 1


class Lexer:
    """Cuts a script into lexemes, one at a time."""

    def __init__(self, source: str, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._position = 0
        self.places = Places(source)

    def error(self, position: int, message: str) -> SieveError:
        """A problem at a position."""
        return SieveError(*self.places.of(position), message)

    def next(self) -> Lexeme:
        """The next lexeme; at the end always `END`. Raises `SieveError`."""
        source = self._source
        while True:
            start = self._position
            if start >= len(source):
                return Lexeme(Kind.END, "", 0, len(source))
            match = _LEXEME.match(source, start)
            if match is None:
                raise self._unreadable(start)
            self._position = match.end()
            group = match.lastgroup
            if group == "space":
                continue
            if group == "word":
                return Lexeme(Kind.WORD, match[0].lower(), 0, start)
            if group == "tag":
                return Lexeme(Kind.TAG, match["tag"].lower(), 0, start)
            if group == "string":
                return self._string(match["string"], start)
            if group == "multiline":
                return self._multiline(start)
            if group == "mark":
                return Lexeme(Kind.MARK, match[0], 0, start)
            return self._number(match, start)

    def _number(self, match: re.Match[str], start: int) -> Lexeme:
        digits = match["number"]
        value = int(digits) * _UNITS[match["unit"].lower()] if len(digits) < 20 else _MOST + 1
        if value > _MOST:
            raise self.error(start, f"the number {digits[:30]} is too large")
        return Lexeme(Kind.NUMBER, match[0], value, start)

    def _string(self, text: str, start: int) -> Lexeme:
        if "\\" in text:
            text = _ESCAPE.sub(r"\1", text)  # RFC 5228 2.4.2: an undefined escape is the character itself
        return self._bounded(text, start)

    def _multiline(self, start: int) -> Lexeme:
        end = _TEXT_END.search(self._source, self._position)
        if end is None:
            raise self.error(start, 'the text that begins with "text:" is never ended by a line with a single dot')
        text = self._source[self._position : end.start()]
        self._position = end.end()
        if "\n." in text or text.startswith("."):
            text = _STUFFED.sub("", text)  # RFC 5228 8.1: a leading dot goes when another follows
        return self._bounded(text, start)

    def _bounded(self, text: str, start: int) -> Lexeme:
        if "\n" in text:
            text = _LINE_END.sub("\r\n", text)
        if len(text) > self._limits.string_bytes:
            raise self.error(start, f"the string is longer than {self._limits.string_bytes} characters")
        if "\0" in text:
            raise self.error(start, "the string has a NUL character")
        return Lexeme(Kind.STRING, text, 0, start)

    def _unreadable(self, start: int) -> SieveError:
        source = self._source
        character = source[start]
        if character == '"':
            return self.error(start, "the string has no closing quote")
        if source.startswith("/*", start):
            return self.error(start, 'the comment that begins with "/*" is never closed')
        if character.isdigit():
            return self.error(start, "a number is digits with K, M or G at most")
        if character == ":":
            return self.error(start, "a tag's name must follow the colon")
        return self.error(start, f"unexpected character {character!r}")
