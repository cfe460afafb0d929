"""STORE: flags added, removed, replaced. RFC 9051 6.4.6, UNCHANGEDSINCE: RFC 7162 3.1.3."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.ids import Modseq, Uid
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor, Flags
from mailbox_app.proto.imap.sequence import SequenceSet, compress
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.message_set import message_indexes
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.selected import SYSTEM_FLAGS, Selected
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import FlagMode, StoreResult

_LINES_AT_ONCE = 4_000


@dataclass(frozen=True, slots=True)
class FlagChange:
    """A parsed STORE."""

    wanted: SequenceSet
    mode: FlagMode
    silent: bool
    flags: Flags
    unchanged_since: int | None


def system_bits(flags: Flags, *, recent_passes: bool = False) -> int:
    """The system flags as the store's integer; BAD for what is no flag a client may set."""
    bits = 0
    for name in flags.system:
        bit = SYSTEM_FLAGS.get(name.decode("ascii"))
        if bit is not None:
            bits |= bit
        elif name != b"\\recent" or not recent_passes:
            raise Refusal("Unknown system flag", status="BAD")
    return bits


def parse_store(cursor: Cursor) -> FlagChange:
    """A set, the modifier, FLAGS with its sign, flags."""
    cursor.space()
    wanted = cursor.sequence_set()
    cursor.space()
    unchanged_since = None
    if cursor.accept(b"(UNCHANGEDSINCE "):
        unchanged_since = cursor.number(MAX_MODSEQ)
        cursor.expect(b") ")
    mode = FlagMode.ADD if cursor.accept(b"+") else FlagMode.REMOVE if cursor.accept(b"-") else FlagMode.REPLACE
    cursor.expect(b"FLAGS")
    silent = cursor.accept(b".SILENT")
    cursor.space()
    return FlagChange(wanted, mode, silent, cursor.store_flags(), unchanged_since)


async def store(session: Session, request: Request, change: FlagChange) -> str | None:
    """Change, then tell what is now; messages changed meanwhile by others are named in MODIFIED."""
    bits = system_bits(change.flags)
    view = session.view
    if view.read_only:
        raise Refusal("Mailbox is read-only", "READ-ONLY")
    if change.unchanged_since is not None:
        session.enable_condstore()
    indexes = message_indexes(view, change.wanted, uid=request.uid)
    if not indexes:
        return None
    result = await session.offload(_store, session, view, [Uid(view.uids[index]) for index in indexes], bits, change)
    await _take_keywords(session, view, change)
    refused = set(result.modified)
    changed = view.set_flags(result.changed)
    told = changed if change.silent and session.condstore else [] if change.silent else indexes
    if refused:
        told = [index for index in told if view.uids[index] not in refused]
    for start in range(0, len(told), _LINES_AT_ONCE):
        lines = view.fetch_lines(told[start : start + _LINES_AT_ONCE], uid=request.uid, modseq=session.condstore)
        session.write("".join(lines).encode("ascii"))
        await session.drain()
    if not refused:
        return None
    if request.uid:
        return f"[MODIFIED {compress(sorted(refused))}] Conditional STORE done for the others"
    numbers = sorted(index + 1 for uid in refused if (index := view.index_of(uid)) is not None)
    return f"[MODIFIED {compress(numbers)}] Conditional STORE done for the others"


def _store(session: Session, view: Selected, uids: list[Uid], bits: int, change: FlagChange) -> StoreResult:
    since = None if change.unchanged_since is None else Modseq(change.unchanged_since)
    return session.mail().store_flags(view.mailbox_id, uids, change.mode, bits, change.flags.keywords, since)


async def _take_keywords(session: Session, view: Selected, change: FlagChange) -> None:
    """A keyword new to the mailbox must be known before a flag list names it."""
    if set(change.flags.keywords) - set(view.keywords):
        info = await session.offload(lambda: session.mail().mailbox(view.name))
        for line in view.take_keywords(info.keywords):
            session.write(line.encode("ascii"))


STORE = Command(
    "STORE",
    State.SELECTED,
    Does.HAS_UID_FORM | Does.KEEPS_NUMBERS,
    "",
    "RFC 9051 6.4.6",
    store,
    parse_store,
)
