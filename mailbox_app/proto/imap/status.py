"""The items of STATUS. RFC 9051 6.3.11, RFC 8438, RFC 7162 3.1.7, RFC 7889 4, RFC 8474 4.3, RFC 9208 4.1.4."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor

STATUS_ITEMS = frozenset(
    {
        "MESSAGES",
        "RECENT",
        "UIDNEXT",
        "UIDVALIDITY",
        "UNSEEN",
        "DELETED",
        "SIZE",
        "HIGHESTMODSEQ",
        "MAILBOXID",
        "APPENDLIMIT",
        "DELETED-STORAGE",
    }
)


def parse_items(cursor: Cursor) -> tuple[str, ...]:
    """Item names in parentheses, each once."""
    cursor.expect(b"(")
    items: list[str] = []
    while True:
        item = cursor.word().decode("ascii")
        if item not in STATUS_ITEMS:
            raise cursor.fail("a known status item")
        items.append(item)
        if cursor.accept(b")"):
            return tuple(dict.fromkeys(items))
        cursor.space()


def parse_status(cursor: Cursor) -> tuple[str, tuple[str, ...]]:
    """A mailbox and item names."""
    cursor.space()
    name = cursor.mailbox()
    cursor.space()
    return name, parse_items(cursor)
