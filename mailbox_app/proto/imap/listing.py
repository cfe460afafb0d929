"""The arguments of LIST, basic and extended. RFC 9051 6.3.9, RFC 5258 3, RFC 5819, RFC 6154 5.2, RFC 8440, RFC 9590."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.metadata import read_entry
from mailbox_app.proto.imap.status import parse_items

_MAX_PATTERN = 1_000
_MAX_PATTERNS = 100
_MAX_ENTRIES = 50
_SELECTION = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "MYRIGHTS"})


@dataclass(frozen=True, slots=True)
class Listing:
    """What to list and what to tell of each."""

    reference: str
    patterns: tuple[str, ...]
    is_extended: bool = False
    selection: frozenset[str] = frozenset()
    """Upper case."""
    returned: frozenset[str] = frozenset()
    """Upper case; STATUS and METADATA have their own fields."""
    status: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()

    @property
    def asks_for_delimiter(self) -> bool:
        """RFC 9051 6.3.9: a basic LIST with an empty pattern."""
        return not self.is_extended and self.patterns == ("",)


def parse_list(cursor: Cursor) -> Listing:
    """Everything behind LIST."""
    cursor.space()
    selection = _options(cursor, _SELECTION) if cursor.peek(b"(") else None
    if selection is not None:
        if "RECURSIVEMATCH" in selection and not selection & {"SUBSCRIBED", "SPECIAL-USE"}:
            raise ProtocolError("imap.syntax", "RECURSIVEMATCH needs another selection option")  # RFC 5258 3.1
        cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    is_many = cursor.peek(b"(")
    patterns = _patterns(cursor) if is_many else [cursor.list_mailbox()]
    if any(len(reference) + len(pattern) > _MAX_PATTERN for pattern in patterns):
        raise ProtocolError("imap.limit", "pattern too long")
    has_return = cursor.accept(b" RETURN ")
    listing = Listing(
        reference,
        tuple(dict.fromkeys(patterns)),
        is_many or has_return or selection is not None,
        selection or frozenset(),
    )
    return _returned(cursor, listing) if has_return else listing


def parse_lsub(cursor: Cursor) -> Listing:
    """Reference and one pattern. RFC 3501 6.3.9."""
    cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    pattern = cursor.list_mailbox()
    if len(reference) + len(pattern) > _MAX_PATTERN:
        raise ProtocolError("imap.limit", "pattern too long")
    return Listing(reference, (pattern,))


def _options(cursor: Cursor, known: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    cursor.expect(b"(")
    if not cursor.accept(b")"):
        while True:
            word = cursor.word().decode("ascii")
            if word not in known:
                raise cursor.fail("a known option")
            found.add(word)
            if cursor.accept(b")"):
                break
            cursor.space()
    return frozenset(found)


def _patterns(cursor: Cursor) -> list[str]:
    cursor.expect(b"(")
    patterns = [cursor.list_mailbox()]
    while not cursor.accept(b")"):
        cursor.space()
        patterns.append(cursor.list_mailbox())
        if len(patterns) > _MAX_PATTERNS:
            raise ProtocolError("imap.limit", "too many patterns")
    return patterns


def _returned(cursor: Cursor, listing: Listing) -> Listing:
    words: set[str] = set()
    status: tuple[str, ...] = ()
    entries: list[str] = []
    for _ in cursor.each_in_list():
        word = cursor.word().decode("ascii")
        if word == "STATUS":
            cursor.space()
            status = parse_items(cursor)
        elif word == "METADATA":
            cursor.space()
            entries = _entries(cursor)
        elif word in _RETURN:
            words.add(word)
        else:
            raise cursor.fail("a known return option")
    return Listing(
        listing.reference,
        listing.patterns,
        True,
        listing.selection,
        frozenset(words),
        status,
        tuple(dict.fromkeys(entries)),
    )


def _entries(cursor: Cursor) -> list[str]:
    cursor.expect(b"(")
    entries = [read_entry(cursor)]
    while not cursor.accept(b")"):
        cursor.space()
        entries.append(read_entry(cursor))
        if len(entries) > _MAX_ENTRIES:
            raise ProtocolError("imap.limit", "too many entries")
    return entries
