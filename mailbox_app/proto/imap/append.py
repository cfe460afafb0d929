"""The grammar of APPEND, read step by step because message literals are streamed between its words.

RFC 9051 6.3.12 with MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), BINARY (RFC 3516) and UTF8 (RFC 6855). `AppendReader.read`
takes the text up to a literal's announcement or to the command's end and tells what it said. A text that ends in the
literal of a URL is not readable yet: it raises like wrong syntax does, changes nothing, and is read again, with that
literal in it, when it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor, Flags

MAX_PARTS = 1_000
_ANNOUNCED = re.compile(rb"(~?)\{(\d{1,19})(\+?)\}\Z")


@dataclass(frozen=True, slots=True)
class Begin:
    """A message begins: what it gets."""

    flags: Flags
    seconds: int | None
    """INTERNALDATE; None: now."""
    catenated: bool


@dataclass(frozen=True, slots=True)
class Data:
    """A literal of message text comes now."""

    size: int
    synchronising: bool
    binary: bool
    """A literal8."""


@dataclass(frozen=True, slots=True)
class Url:
    """Here goes what a URL names."""

    url: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The message is complete."""


Step = Begin | Data | Url | End


class _Place(Enum):
    FIRST = auto()
    """Before the first message; the space in front of it was read."""
    BEHIND = auto()
    """Behind a message: another one, or the end."""
    LITERAL = auto()
    """Behind the literal of a message."""
    UTF8 = auto()
    """Behind the literal of `UTF8 (`."""
    PART = auto()
    """Behind a part of CATENATE."""
    UTF8_PART = auto()
    """Behind the literal of a part's `UTF8 (`."""


@dataclass(slots=True)
class AppendReader:
    """Where one APPEND stands."""

    place: _Place = _Place.FIRST
    parts: int = 0
    _steps: list[Step] = field(default_factory=list)

    def read(self, cursor: Cursor) -> list[Step]:
        """The steps of a text; the cursor stands at its end afterwards. The last step is `Data` when a literal comes."""
        place, parts = self.place, self.parts
        self._steps = []
        try:
            self._read(cursor)
        except ProtocolError:
            self.place, self.parts = place, parts
            raise
        return self._steps

    def _read(self, cursor: Cursor) -> None:
        if self.place in (_Place.UTF8, _Place.UTF8_PART):
            cursor.expect(b")")
        if self.place in (_Place.PART, _Place.UTF8_PART):
            if not self._more_parts(cursor):
                return
        elif self.place in (_Place.LITERAL, _Place.UTF8):
            self._steps.append(End())
            self.place = _Place.BEHIND
        while self.place is _Place.FIRST or not cursor.at_end():
            if self.place is _Place.BEHIND:
                cursor.space()
            if self._message(cursor):
                return
            self.place = _Place.BEHIND

    def _message(self, cursor: Cursor) -> bool:
        """A message's beginning, or all of it; whether a literal comes."""
        flags = Flags((), ())
        if cursor.peek(b"("):
            flags = cursor.flag_list()
            cursor.space()
        seconds = None
        if cursor.peek(b'"'):
            seconds = cursor.date_time()
            cursor.space()
        if cursor.accept(b"CATENATE ("):
            self._steps.append(Begin(flags, seconds, catenated=True))
            return self._part(cursor) or not self._to_end_of_parts(cursor)
        self._steps.append(Begin(flags, seconds, catenated=False))
        if cursor.accept(b"UTF8 ("):  # RFC 6855 4
            self._literal(cursor, _Place.UTF8)
        else:
            self._literal(cursor, _Place.LITERAL)
        return True

    def _more_parts(self, cursor: Cursor) -> bool:
        """Go on behind a part whose literal came; whether the message is complete."""
        if not self._to_end_of_parts(cursor):
            return False
        self.place = _Place.BEHIND
        return True

    def _to_end_of_parts(self, cursor: Cursor) -> bool:
        """Read parts up to the closing parenthesis; False when a literal comes before it."""
        while not cursor.accept(b")"):
            cursor.space()
            if self._part(cursor):
                return False
        self._steps.append(End())
        return True

    def _part(self, cursor: Cursor) -> bool:
        """One part of CATENATE; whether its literal comes."""
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise ProtocolError("imap.limit", "too many parts")
        if cursor.accept(b"URL "):
            self._steps.append(Url(cursor.astring()))
            return False
        if cursor.accept(b"UTF8 ("):
            self._literal(cursor, _Place.UTF8_PART)
        else:
            cursor.expect(b"TEXT ")
            self._literal(cursor, _Place.PART)
        return True

    def _literal(self, cursor: Cursor, place: _Place) -> None:
        announced = _ANNOUNCED.match(cursor.data, cursor.pos)
        if announced is None:
            raise cursor.fail("a literal")
        cursor.pos = announced.end()
        self._steps.append(Data(int(announced[2]), not announced[3], bool(announced[1])))
        self.place = place
