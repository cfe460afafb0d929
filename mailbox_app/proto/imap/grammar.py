"""A cursor over one command. Each method reads one element of RFC 9051 section 9 and moves on, or raises `ProtocolError`.

Strings come back as bytes. 8-bit characters are taken inside quoted strings (clients send passwords and search texts
so) but never in atoms; NUL, CR and LF nowhere but in literals, and NUL not even there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from mailbox_app.errors import ProtocolError
from mailbox_app.proto import dates
from mailbox_app.proto.imap import mailbox_name
from mailbox_app.proto.imap.sequence import STAR, SequenceSet

MAX_RANGES = 100_000
"""More than fit into a line: what a line can hold is read in 30 ms."""
MAX_FLAGS = 100
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_LIST_CHARS = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPED = re.compile(rb'\\(["\\])')
_LITERAL = re.compile(rb"\{(\d{1,19})\+?\}\r\n")
_NUMBER = re.compile(rb"\d{1,20}")
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_SEQUENCE = re.compile(rb"[0-9*:,]+")
_NUMBERS = re.compile(rb"\d{1,10}(?:,\d{1,10})*+")
_DATE = re.compile(rb'("?)(\d{1,2})-([A-Za-z]{3})-(\d{4})\1')
_DATE_TIME = re.compile(rb'"[ 0-9A-Za-z:+-]{26}"')
_MONTHS = {
    name: number + 1
    for number, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split())
}  # fmt: skip
MAX_NUMBER = (1 << 32) - 1
MAX_MODSEQ = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Flags:
    """A parsed flag list: system flags in lower case with their backslash, keywords as written."""

    system: tuple[bytes, ...]
    keywords: tuple[str, ...]


class Cursor:
    """Reads one command from left to right."""

    __slots__ = ("data", "pos", "utf8")

    def __init__(self, data: bytes, pos: int = 0, *, utf8: bool = False) -> None:
        self.data = data
        self.pos = pos
        self.utf8 = utf8
        """Mailbox names are UTF-8, not modified UTF-7. RFC 9051 5.1"""

    # moving
    def fail(self, what: str) -> ProtocolError:
        """The error for what was expected here."""
        return ProtocolError("imap.syntax", f"{what} expected")

    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.pos >= len(self.data)

    def end(self) -> None:
        """Nothing may follow."""
        if self.pos < len(self.data):
            raise ProtocolError("imap.syntax", "too many arguments")

    def peek(self, text: bytes) -> bool:
        """Whether this text (upper case) comes next, in any case."""
        return self.data[self.pos : self.pos + len(text)].upper() == text

    def accept(self, text: bytes) -> bool:
        """Read this text (upper case) if it comes next."""
        if self.peek(text):
            self.pos += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        """Read this text or fail."""
        if not self.accept(text):
            raise self.fail(repr(text.decode("ascii")))

    def space(self) -> None:
        """Exactly one space."""
        if self.data[self.pos : self.pos + 1] != b" ":
            raise self.fail("a space")
        self.pos += 1

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self.data, self.pos)
        if match is None:
            raise self.fail(what)
        self.pos = match.end()
        return match

    def each_in_list(self) -> Iterator[None]:
        """Once before each item of a list in parentheses, which may be empty; the caller reads the item."""
        self.expect(b"(")
        if self.accept(b")"):
            return
        while True:
            yield
            if self.accept(b")"):
                return
            self.space()

    # words and strings
    def tag(self) -> bytes:
        """A command's tag."""
        return self._match(_TAG, "a tag")[0]

    def atom(self) -> bytes:
        """An atom as written."""
        return self._match(_ATOM, "an atom")[0]

    def word(self) -> bytes:
        """An atom in upper case: a verb or an item's name."""
        return self.atom().upper()

    def astring(self) -> bytes:
        """An atom (with `]`) or a string."""
        match = _ASTRING.match(self.data, self.pos)
        if match is None:
            return self.string()
        self.pos = match.end()
        return match[0]

    def string(self) -> bytes:
        """A quoted string or a literal."""
        data = self.data
        if data[self.pos : self.pos + 1] == b'"':
            text = self._match(_QUOTED, "a closing quote")[1]
            return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
        size = int(self._match(_LITERAL, "a string")[1])
        start = self.pos
        if len(data) - start < size:
            raise self.fail("the whole literal")
        self.pos = start + size
        text = data[start : self.pos]
        if b"\0" in text:
            raise ProtocolError("imap.nul", "NUL is not allowed")
        return text

    def nstring(self) -> bytes | None:
        """A string or NIL."""
        if self.accept(b"NIL"):
            return None
        return self.string()

    def mailbox(self) -> str:
        """A mailbox name; INBOX in any case comes back in upper case."""
        name = self._name(self.astring())
        return "INBOX" if name.upper() == "INBOX" else name

    def list_mailbox(self) -> str:
        """A LIST pattern: `%` and `*` need no quotes."""
        match = _LIST_CHARS.match(self.data, self.pos)
        if match is None:
            return self._name(self.string())
        self.pos = match.end()
        return self._name(match[0])

    def _name(self, data: bytes) -> str:
        """In NFC, the form in which the store keeps names. RFC 9051 5.1"""
        return unicodedata.normalize("NFC", mailbox_name.decode(data, utf8=self.utf8))

    # numbers and sets
    def number(self, largest: int = MAX_NUMBER) -> int:
        """A number of at most 32 bits, or another bound."""
        value = int(self._match(_NUMBER, "a number")[0])
        if value > largest:
            raise ProtocolError("imap.syntax", "number too large")
        return value

    def sequence_set(self) -> SequenceSet:
        """Numbers and ranges, or `$`; zero is no message."""
        if self.accept(b"$"):  # RFC 5182 3
            return SequenceSet((), saved=True)
        text = self._match(_SEQUENCE, "a sequence set")[0]
        parts = text.split(b",")
        if len(parts) > MAX_RANGES:
            raise ProtocolError("imap.limit", "too many ranges")
        if _NUMBERS.fullmatch(text):
            numbers = list(map(int, parts))
            if min(numbers) and max(numbers) <= MAX_NUMBER:
                return SequenceSet(tuple(zip(numbers, numbers, strict=True)))
        ranges = []
        for part in parts:
            first, colon, last = part.partition(b":")
            low = _set_number(first)
            ranges.append((low, _set_number(last) if colon else low))
        return SequenceSet(tuple(ranges))

    # flags
    def flag(self) -> bytes:
        """One flag as written."""
        return self._match(_FLAG, "a flag")[0]

    def flag_list(self) -> Flags:
        """Flags in parentheses."""
        return _sorted_flags([self.flag() for _ in self.each_in_list()])

    def store_flags(self) -> Flags:
        """Flags in parentheses or bare, as STORE takes them."""
        if self.peek(b"("):
            return self.flag_list()
        flags = [self.flag()]
        while not self.at_end():
            self.space()
            flags.append(self.flag())
        return _sorted_flags(flags)

    # dates
    def date(self) -> date:
        """A day, quoted or not."""
        match = self._match(_DATE, "a date")
        try:
            return date(int(match[4]), _MONTHS[match[3].lower()], int(match[2]))
        except (KeyError, ValueError) as error:
            raise self.fail("a real date") from error

    def date_time(self) -> int:
        """A quoted INTERNALDATE as seconds since 1970."""
        return dates.parse_internal_date(self._match(_DATE_TIME, "a date and time")[0])


def _set_number(text: bytes) -> int:
    if text == b"*":
        return STAR
    if not text.isdigit() or len(text) > 10:
        raise ProtocolError("imap.syntax", "a sequence set expected")
    value = int(text)
    if not 0 < value <= MAX_NUMBER:
        raise ProtocolError("imap.syntax", "a sequence set expected")
    return value


def _sorted_flags(flags: list[bytes]) -> Flags:
    if len(flags) > MAX_FLAGS:
        raise ProtocolError("imap.limit", "too many flags")
    system = tuple(flag.lower() for flag in flags if flag.startswith(b"\\"))
    keywords = tuple(dict.fromkeys(flag.decode("ascii") for flag in flags if not flag.startswith(b"\\")))
    return Flags(system, keywords)
