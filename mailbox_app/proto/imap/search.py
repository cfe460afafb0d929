"""SEARCH's program as a tree of plain values, and what a searching command may ask to be told.

RFC 9051 6.4.4; RETURN: RFC 4731, SAVE: RFC 5182, CONTEXT, UPDATE and PARTIAL: RFC 5267 and RFC 9394; keys besides: MODSEQ
of RFC 7162, OLDER and YOUNGER of RFC 5032, EMAILID and THREADID of RFC 8474, the save dates of RFC 8514.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.partial import Partial
from mailbox_app.proto.imap.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class And:
    """All of them; no keys at all match everything."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    key: Key


@dataclass(frozen=True, slots=True)
class HasFlag:
    """A system flag in lower case with backslash (also \\recent), or a keyword."""

    flag: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Message sequence numbers, or what was saved."""

    wanted: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """UIDs, or what was saved."""

    wanted: SequenceSet


class When(StrEnum):
    """Comparison of days."""

    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class Clock(StrEnum):
    """Whose day is compared."""

    INTERNAL = ""
    SENT = "SENT"
    SAVED = "SAVED"


@dataclass(frozen=True, slots=True)
class Day:
    """The day of INTERNALDATE, of the Date header or of saving, disregarding time and zone."""

    when: When
    day: date
    clock: Clock


@dataclass(frozen=True, slots=True)
class Within:
    """INTERNALDATE is at most (`younger`) or at least so many seconds ago. RFC 5032 2"""

    younger: bool
    seconds: int


@dataclass(frozen=True, slots=True)
class Size:
    """RFC822.SIZE larger (or smaller) than."""

    larger: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectId:
    """EMAILID, or (`thread`) THREADID, as it is told."""

    object_id: bytes
    thread: bool


@dataclass(frozen=True, slots=True)
class HeaderText:
    """A field of this name (lower case) contains the text; an empty text: the field is there."""

    name: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The decoded text (`body_only`: without the header) contains the text."""

    text: str
    body_only: bool


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """The modseq is this or higher."""

    modseq: int


Key = And | Or | Not | HasFlag | Numbers | Uids | Day | Within | Size | ObjectId | HeaderText | Text | ChangedSince


@dataclass(frozen=True, slots=True)
class Returns:
    """What RETURN names; no option at all means ALL."""

    options: frozenset[str]
    """Of MIN, MAX, ALL, COUNT, SAVE, CONTEXT, UPDATE."""
    partial: Partial | None = None

    @property
    def saves(self) -> bool:
        """Whether `$` is to stand for the result."""
        return "SAVE" in self.options

    @property
    def is_silent(self) -> bool:
        """Whether only saving was asked for. RFC 5182 2.1"""
        return self.options == {"SAVE"} and self.partial is None


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A whole SEARCH. `returns` is None without RETURN."""

    program: Key
    returns: Returns | None = None
    wants_modseq: bool = False
    names_charset: bool = False


def names_numbers(key: Key) -> bool:
    """Whether it means messages by their sequence numbers."""
    if isinstance(key, And | Or):
        return any(map(names_numbers, key.keys))
    if isinstance(key, Not):
        return names_numbers(key.key)
    return isinstance(key, Numbers) and not key.wanted.saved


class BadCharset(ProtocolError):
    """A charset we do not search in: NO [BADCHARSET], not BAD. `saves`: what was saved is lost."""

    def __init__(self, *, saves: bool = False) -> None:
        super().__init__("imap.charset", "search in US-ASCII or UTF-8")
        self.saves = saves
