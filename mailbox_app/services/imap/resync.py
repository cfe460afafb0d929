"""QRESYNC: what a client missed while it was away. RFC 7162 3.2.5, 3.2.6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.ids import Modseq
from mailbox_app.proto.imap.sequence import Membership, SequenceSet, compress
from mailbox_app.services.imap.following import Following
from mailbox_app.services.imap.message_set import has_star
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.interface import Account
from mailbox_app.store.model import Changes

_LINES_AT_ONCE = 4_000


@dataclass(frozen=True, slots=True)
class Known:
    """What the client says it knows of a mailbox."""

    uidvalidity: int
    modseq: int
    uids: SequenceSet | None
    """None: all that could exist."""
    numbers: Sequence[int] = ()
    """Sequence numbers whose UIDs are in `number_uids`, for a log of removals that is too short."""
    number_uids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """What is to be told: UIDs removed, and UIDs of messages whose flags changed or that are new."""

    vanished: Sequence[int]
    changed: Sequence[int]


def missed(
    account: Account, view: Selected, since: int, uids: SequenceSet | None, *, above: int = 0, largest: int = 0
) -> Missed:
    """What happened to messages of the view after a modseq; blocks. `above`: UIDs up to here are known to be there;
    `largest`: what `*` means for messages that are there; for removed ones it is all that could exist."""
    changes = account.changes(view.mailbox_id, Modseq(since))
    if not changes.exists:
        return Missed((), ())
    later = _later(account, view, changes)
    below = view.uidnext
    gone = [each for each in changes.expunged if each < below and each not in later]
    if not changes.complete:
        gone = [each for each in gone if each > above]
    changed: list[int] = [row[0] for row in changes.changed if row[0] < below and row[2] > since]
    if uids is not None:
        removable, present = Membership(uids, below - 1), Membership(uids, largest or below - 1)
        gone = [each for each in gone if each in removable]
        changed = [each for each in changed if each in present]
    return Missed(gone, changed)


def _later(account: Account, view: Selected, changes: Changes) -> frozenset[int]:
    """UIDs that are gone but still counted by the view: their removal is told as one of now."""
    if changes.highest_modseq <= view.highest_modseq:
        return frozenset(view.withheld)
    newer = account.changes(view.mailbox_id, view.highest_modseq)
    return frozenset(view.withheld).union(newer.expunged if newer.complete else ())


async def changed_positions(session: Following, wanted: SequenceSet, since: int, *, vanished: bool) -> Sequence[int]:
    """For UID FETCH ... (CHANGEDSINCE since [VANISHED]): positions of what changed, loaded; removals are told before.
    RFC 7162 3.1.4.1, 3.2.6"""
    view = session.view
    if wanted.saved:  # messages that are there, and few
        positions = await session.positions(wanted, uid=True)
        return [each for each, known in zip(positions, view.modseqs_at(positions), strict=True) if known > since]
    last = view.blocks.last()
    if last is not None and has_star(wanted):
        await session.load((view.count - 1,))
    largest = last.uids[-1] if last is not None and last.is_loaded else 0
    found = await session.offload(lambda: missed(session.mail_of(view), view, since, wanted, largest=largest))
    if vanished and found.vanished:
        session.line(f"VANISHED (EARLIER) {await session.offload(compress, found.vanished)}")
    return await session.positions_of(found.changed)


async def resynchronise(session: Following, known: Known) -> None:
    """The end of SELECT with QRESYNC: VANISHED (EARLIER) first, then FETCH of what changed. RFC 7162 3.2.5.1"""
    view = session.view
    if known.uidvalidity != view.uidvalidity:
        return
    above = await _matched(session, known)
    found = await session.offload(lambda: missed(session.mail_of(view), view, known.modseq, known.uids, above=above))
    if found.vanished:
        session.line(f"VANISHED (EARLIER) {await session.offload(compress, found.vanished)}")
    for start in range(0, len(found.changed), _LINES_AT_ONCE):
        positions = await session.positions_of(found.changed[start : start + _LINES_AT_ONCE])
        session.write("".join(view.fetch_lines(positions, uid=True, modseq=True)).encode("ascii"))
        await session.drain()


async def _matched(session: Following, known: Known) -> int:
    """The highest UID up to which the client's numbers still are ours, so nothing below was removed. RFC 7162 3.2.5.2"""
    view = session.view
    pairs = list(zip(known.numbers, known.number_uids, strict=True))
    low, high = 0, len(pairs)  # numbers that fit come before those that do not
    while low < high:
        middle = (low + high) // 2
        number, uid = pairs[middle]
        fits = number <= view.count
        if fits:
            await session.load((number - 1,))
            fits = view.uid(number - 1) == uid
        low, high = (middle + 1, high) if fits else (low, middle)
    return pairs[low - 1][1] if low else 0
