"""The arguments of NOTIFY. RFC 5465 3 and 8."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.fetch import FetchRequest, parse_fetch
from mailbox_app.proto.imap.grammar import Cursor

MESSAGE_EVENTS = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})
SUPPORTED = (
    "MessageNew",
    "MessageExpunge",
    "FlagChange",
    "MailboxName",
    "SubscriptionChange",
    "MailboxMetadataChange",
    "ServerMetadataChange",
)
_KNOWN = frozenset(name.upper() for name in SUPPORTED)
_SELECTED = frozenset({"SELECTED", "SELECTED-DELAYED"})
_PLAIN = _SELECTED | {"INBOXES", "PERSONAL", "SUBSCRIBED"}
_NAMED = frozenset({"SUBTREE", "MAILBOXES"})
_MAX_GROUPS = 50
_MAX_NAMES = 1_000


@dataclass(frozen=True, slots=True)
class EventGroup:
    """Which mailboxes, and what of them; no events: nothing."""

    kind: str
    """Upper case."""
    names: frozenset[str]
    """Of SUBTREE and MAILBOXES."""
    events: frozenset[str]
    """Upper case."""
    fetched: FetchRequest | None = None
    """What is told of a new message in the selected mailbox."""

    @property
    def is_selected(self) -> bool:
        """Whether it is about the selected mailbox."""
        return self.kind in _SELECTED


@dataclass(frozen=True, slots=True)
class Notify:
    """A parsed NOTIFY SET."""

    tells_status: bool
    groups: tuple[EventGroup, ...]
    unknown: tuple[str, ...]
    """Events nobody here knows: NO with BADEVENT."""


def parse_notify(cursor: Cursor) -> Notify | None:
    """None for NOTIFY NONE."""
    cursor.space()
    if cursor.accept(b"NONE"):
        return None
    cursor.expect(b"SET")
    tells_status = cursor.accept(b" STATUS")
    groups: list[EventGroup] = []
    unknown: list[str] = []
    while not groups or not cursor.at_end():
        cursor.space()
        groups.append(_group(cursor, unknown))
        if len(groups) > _MAX_GROUPS or sum(len(group.names) for group in groups) > _MAX_NAMES:
            raise ProtocolError("imap.limit", "too many groups")
    if sum(group.is_selected for group in groups) > 1:
        raise ProtocolError("imap.syntax", "one group for the selected mailbox")
    return Notify(tells_status, tuple(groups), tuple(dict.fromkeys(unknown)))


def _group(cursor: Cursor, unknown: list[str]) -> EventGroup:
    cursor.expect(b"(")
    kind = cursor.word().decode("ascii")
    names: frozenset[str] = frozenset()
    if kind in _NAMED:
        cursor.space()
        names = _names(cursor)
    elif kind not in _PLAIN:
        raise cursor.fail("which mailboxes")
    cursor.space()
    events: set[str] = set()
    fetched: FetchRequest | None = None
    if not cursor.accept(b"NONE"):
        cursor.expect(b"(")
        while True:
            word = cursor.word().decode("ascii")
            if word in _KNOWN:
                events.add(word)
            else:
                unknown.append(word)
            if word == "MESSAGENEW" and cursor.accept(b" ("):
                cursor.pos -= 1
                fetched = parse_fetch(cursor)
            if cursor.accept(b")"):
                break
            cursor.space()
    cursor.expect(b")")
    group = EventGroup(kind, names, frozenset(events), fetched)
    _check(group)
    return group


def _check(group: EventGroup) -> None:
    """RFC 5465 5: which events go together."""
    both = {"MESSAGENEW", "MESSAGEEXPUNGE"}
    if group.events & both and not both <= group.events:
        raise ProtocolError("imap.syntax", "MessageNew and MessageExpunge go together")
    if "FLAGCHANGE" in group.events and not both <= group.events:
        raise ProtocolError("imap.syntax", "FlagChange needs MessageNew and MessageExpunge")
    if group.is_selected and group.events - MESSAGE_EVENTS:
        raise ProtocolError("imap.syntax", "only message events of the selected mailbox")
    if group.fetched is not None and not group.is_selected:
        raise ProtocolError("imap.syntax", "items are fetched in the selected mailbox only")


def _names(cursor: Cursor) -> frozenset[str]:
    if not cursor.accept(b"("):
        return frozenset({cursor.mailbox()})
    names = [cursor.mailbox()]
    while not cursor.accept(b")"):
        cursor.space()
        names.append(cursor.mailbox())
    return frozenset(names)
