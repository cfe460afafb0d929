"""STORE: flags added, removed, replaced. RFC 9051 6.4.6, UNCHANGEDSINCE: RFC 7162 3.1.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mailbox_app.ids import Modseq, Uid
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, Cursor, Flags
from mailbox_app.proto.imap.sequence import SequenceSet, compress
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.namespaces import permission_denied
from mailbox_app.services.imap.permissions import (
    FLAG_RIGHTS,
    kept_bits,
    may_change_flags,
    permitted,
    permitted_system,
)
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.selected import RECENT, SYSTEM_FLAGS, Selected
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.telling import flag_differences, tell_flags
from mailbox_app.store.interface import Account
from mailbox_app.store.model import KEYWORD_SHIFT, FlagMode, StoreResult

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
            bits |= int(bit)  # the complement of an IntFlag has no keyword bits
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
    bits, change = _permitted(view, bits, change)
    if change.unchanged_since is not None:
        session.enable_condstore()
    indexes = await session.positions(change.wanted, uid=request.uid)
    if not indexes:
        return None
    uids = [Uid(uid) for uid in view.uids_at(indexes)]
    outcome = await session.offload(_store, session, view, uids, bits, change)
    await tell_flags(session, view, outcome.differences)
    session.write("".join(outcome.keyword_lines).encode("ascii"))
    refused = frozenset(outcome.refused)
    told: Sequence[int] = indexes
    if change.silent:
        told = outcome.changed if session.condstore else outcome.surprising
    elif refused:
        told = [index for index, uid in zip(indexes, uids, strict=True) if uid not in refused]
    for start in range(0, len(told), _LINES_AT_ONCE):
        lines = view.fetch_lines(
            told[start : start + _LINES_AT_ONCE], uid=request.uid or session.vanished, modseq=session.condstore
        )
        session.write("".join(lines).encode("ascii"))
        await session.drain()
    if not refused:
        return None
    if request.uid:
        return f"[MODIFIED {compress(sorted(refused))}] Conditional STORE done for the others"
    numbers = sorted(index + 1 for uid in refused if (index := view.index_of(uid)) is not None)
    return f"[MODIFIED {compress(numbers)}] Conditional STORE done for the others"


def _permitted(view: Selected, bits: int, change: FlagChange) -> tuple[int, FlagChange]:
    """What the session may do of it; refused when that is nothing. RFC 4314 4."""
    if may_change_flags(view):
        return bits, change
    allowed, keywords = permitted(view.rights, bits, change.flags.keywords)
    is_replacing = change.mode is FlagMode.REPLACE and set(view.rights) & FLAG_RIGHTS
    if not allowed and not keywords and not is_replacing:
        raise permission_denied()
    return allowed, replace(change, flags=Flags(change.flags.system, keywords))


@dataclass(frozen=True, slots=True)
class _Outcome:
    changed: Sequence[int]
    """Positions with new flags."""
    surprising: Sequence[int]
    """Those of them where somebody else had changed other flags: a silent STORE tells these all the same."""
    refused: Sequence[int]
    """UIDs that UNCHANGEDSINCE kept as they were."""
    keyword_lines: Sequence[str]
    differences: Mapping[int, list[Uid]]
    """For scripts: messages by what changed."""


def _store(session: Session, view: Selected, uids: list[Uid], bits: int, change: FlagChange) -> _Outcome:
    account = session.mail_of(view)
    since = None if change.unchanged_since is None else Modseq(change.unchanged_since)
    result = _change(account, view, uids, bits, change, since)
    lines: Sequence[str] = ()
    if set(change.flags.keywords) - set(view.keywords):  # to be known before a flag list names it
        now = account.changes(view.mailbox_id, view.highest_modseq)
        if now.exists:  # deleted since: the goodbye that follows says so
            lines = view.take_keywords(now.keywords)
    surprising: Sequence[int] = ()
    if change.silent and not session.condstore:
        expected = _expected(view, change, bits)
        surprising = [index for uid, flags, _ in result.changed if (index := expected(uid, flags)) is not None]
    differences = flag_differences(session, view, result.changed)
    return _Outcome(view.set_flags(result.changed), surprising, result.modified, lines, differences)


def _change(
    account: Account, view: Selected, uids: list[Uid], bits: int, change: FlagChange, since: Modseq | None
) -> StoreResult:
    keywords = change.flags.keywords
    if change.mode is not FlagMode.REPLACE or may_change_flags(view):
        return account.store_flags(view.mailbox_id, uids, change.mode, bits, keywords, since)
    # Who may not change all flags replaces the others only.
    added = account.store_flags(view.mailbox_id, uids, FlagMode.ADD, bits, keywords, since)
    refused = frozenset(added.modified)
    others = [each for each in view.keywords if each not in keywords] if "w" in view.rights else []
    unwanted = permitted_system(view.rights) & ~bits
    left = [uid for uid in uids if uid not in refused]
    removed = account.store_flags(view.mailbox_id, left, FlagMode.REMOVE, unwanted, others)
    changed = {row[0]: row for row in (*added.changed, *removed.changed)}
    return StoreResult([changed[uid] for uid in sorted(changed)], added.modified)


def _expected(view: Selected, change: FlagChange, bits: int) -> Callable[[int, int], int | None]:
    """What tells the position of a message whose new flags do not follow from those in view."""
    for number, keyword in enumerate(view.keywords):
        if keyword in change.flags.keywords:
            bits |= 1 << KEYWORD_SHIFT + number
    kept = kept_bits(view.rights)
    combine: Callable[[int], int] = {
        FlagMode.REPLACE: lambda old: bits | old & kept,
        FlagMode.ADD: lambda old: old | bits,
        FlagMode.REMOVE: lambda old: old & ~bits,
    }[change.mode]

    def surprise(uid: int, flags: int) -> int | None:
        index = view.index_of(uid)
        return None if index is None or combine(view.flags_at((index,))[0] & ~RECENT) == flags else index

    return surprise


STORE = Command(
    "STORE",
    State.SELECTED,
    Does.HAS_UID_FORM | Does.KEEPS_NUMBERS,
    "",
    "RFC 9051 6.4.6",
    store,
    parse_store,
)
