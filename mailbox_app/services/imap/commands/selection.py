"""SELECT, EXAMINE, CLOSE, UNSELECT. RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2; CONDSTORE and QRESYNC: RFC 7162 3.1.8, 3.2.5."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import MAX_MODSEQ, MAX_NUMBER, Cursor
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.message_set import has_star
from mailbox_app.services.imap.namespaces import Located, locate, mailbox_object_id
from mailbox_app.services.imap.permissions import is_read_only
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.resync import Known, resynchronise
from mailbox_app.services.imap.selected import Selected
from mailbox_app.services.imap.session import Session
from mailbox_app.store.interface import Account
from mailbox_app.store.model import Outline

_MAX_MATCHED = 10_000
"""Numbers with their UIDs; clients send a few dozen."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which mailbox, whether MODSEQ is wanted, and what the client knows of it."""

    name: str
    condstore: bool = False
    known: Known | None = None


def parse_selection(cursor: Cursor) -> Selection:
    """A mailbox and parameters in parentheses, in any order. RFC 4466 2.1"""
    cursor.space()
    selection = Selection(cursor.mailbox())
    if not cursor.accept(b" ("):
        return selection
    while True:
        if cursor.accept(b"CONDSTORE"):
            selection = replace(selection, condstore=True)
        elif selection.known is None and cursor.accept(b"QRESYNC ("):
            selection = replace(selection, condstore=True, known=_known(cursor))
        else:
            raise cursor.fail("CONDSTORE or QRESYNC")
        if cursor.accept(b")"):
            return selection
        cursor.space()


def _known(cursor: Cursor) -> Known:
    """UIDVALIDITY, modseq, and perhaps UIDs, and sequence numbers with their UIDs. RFC 7162 3.2.5"""
    uidvalidity = cursor.number(MAX_NUMBER)
    cursor.space()
    modseq = cursor.number(MAX_MODSEQ)
    if not uidvalidity or not modseq:
        raise cursor.fail("numbers above zero")
    uids = None
    numbers: tuple[int, ...] = ()
    number_uids: tuple[int, ...] = ()
    if not cursor.accept(b")"):
        cursor.space()
        if not cursor.accept(b"("):
            uids = _plain_set(cursor)
            if not cursor.accept(b" ("):
                cursor.expect(b")")
                return Known(uidvalidity, modseq, uids)
        numbers = _listed(cursor)
        cursor.space()
        number_uids = _listed(cursor)
        if len(numbers) != len(number_uids):
            raise cursor.fail("as many numbers as UIDs")
        cursor.expect(b"))")
    return Known(uidvalidity, modseq, uids, numbers, number_uids)


def _plain_set(cursor: Cursor) -> SequenceSet:
    """RFC 7162 3.2.5.1: without `*`; and `$` means nothing before a mailbox is selected."""
    wanted = cursor.sequence_set()
    if has_star(wanted) or wanted.saved:
        raise cursor.fail("a set of numbers")
    return wanted


def _listed(cursor: Cursor) -> tuple[int, ...]:
    bounds = _plain_set(cursor).bounds(0)
    if sum(high - low + 1 for low, high in bounds) > _MAX_MATCHED:
        raise cursor.fail("fewer numbers")
    return tuple(number for low, high in bounds for number in range(low, high + 1))


async def select(session: Session, request: Request, selection: Selection) -> str:
    """Leave the old mailbox, whatever happens, and enter the new one."""
    if selection.known is not None:
        if not session.qresync:
            raise Refusal("ENABLE QRESYNC first", status="BAD")
        if session.uidonly and selection.known.numbers:
            raise Refusal("No sequence numbers under UIDONLY", "UIDREQUIRED", status="BAD")
    if session.selected is not None:
        session.unselect()
        session.line("OK [CLOSED] Previous mailbox closed")  # RFC 7162 3.2.11
    if selection.condstore:
        session.enable_condstore()
    read_only = request.verb == "EXAMINE"
    try:
        opened = await _enter(session, selection.name, read_only)
    except Exception:
        session.unselect()
        raise
    view = session.selected = opened.view
    view.uidonly = session.uidonly
    for line in view.flag_lines():
        session.write(line.encode("ascii"))
    session.line(f"{view.count} EXISTS")
    if session.rev2:
        shown = response.mailbox(opened.shown, utf8=session.utf8)
        session.write(b'* LIST () "/" %b\r\n' % shown)  # RFC 9051 6.3.2
    else:
        session.line(f"{view.recent_count} RECENT")
    if opened.first_unseen is not None and not session.rev2 and not session.uidonly:
        session.line(f"OK [UNSEEN {opened.first_unseen + 1}] First unseen")
    session.line(f"OK [UIDVALIDITY {view.uidvalidity}] UIDs valid")
    session.line(f"OK [UIDNEXT {view.uidnext}] Next UID")
    session.line(f"OK [HIGHESTMODSEQ {view.highest_modseq}] Highest")
    session.line(f"OK [MAILBOXID ({mailbox_object_id(view.ref, view.mailbox_id)})] Its id")  # RFC 8474 4.2
    if selection.known is not None:
        await resynchronise(session, selection.known)
    return f"[READ-ONLY] {request.verb} done" if view.read_only else f"[READ-WRITE] {request.verb} done"


@dataclass(frozen=True, slots=True)
class _Opened:
    view: Selected
    first_unseen: int | None
    shown: str
    """The mailbox's name in this session."""


async def _enter(session: Session, name: str, read_only: bool) -> _Opened:
    """Listen first, then read; once more when it turns out to be another account's mailbox."""
    assert session.account is not None
    owner = session.account.account_id
    while True:
        session.listen(owner)
        located, opened = await session.offload(_open, session, name, read_only)
        if located.ref.account_id == owner:
            return opened
        session.unselect()
        owner = located.ref.account_id


def _open(session: Session, name: str, read_only: bool) -> tuple[Located, _Opened]:
    located = locate(session, name, "r")
    account = session.service.deps.store.account(located.ref)
    outline = account.outline(account.mailbox(located.name).mailbox_id)
    first_recent = outline.info.first_recent_uid
    read_only = read_only or is_read_only(located.rights)
    if not read_only and first_recent < outline.info.uidnext:
        # Who lost the race to another session gets a border behind all that is in view.
        first_recent = account.claim_recent(outline.info.mailbox_id, outline.info.uidnext)
        if first_recent != outline.info.first_recent_uid:
            outline = replace(outline, recent_count=_count_from(account, outline, first_recent))
    border = None if session.rev2 else first_recent  # IMAP4rev2 knows no \\Recent
    view = Selected(outline, located.ref, located.rights, border, read_only=read_only)
    return located, _Opened(view, outline.first_unseen, located.shown)


def _count_from(account: Account, outline: Outline, uid: int) -> int:
    """Messages of the view from this UID on."""
    info, bits = outline.info, outline.block_bits
    numbers = [block.number for block in outline.blocks if block.number >= uid >> bits]
    found = account.blocks(info.mailbox_id, numbers, info.highest_modseq, info.uidnext)
    return sum(each >= uid for rows in found for each in {*rows.uids, *rows.expunged})


async def close(session: Session, request: Request, arguments: None) -> None:
    """Expunge without telling, then leave; a mailbox opened by EXAMINE is only left."""
    view = session.view
    session.unselect()
    if not view.read_only and "e" in view.rights:  # RFC 4314 4: without it, CLOSE only leaves
        await session.offload(lambda: session.mail_of(view).expunge(view.mailbox_id, None))


async def unselect(session: Session, request: Request, arguments: None) -> None:
    """Leave without expunging."""
    session.unselect()


SELECT = Command("SELECT", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.2", select, parse_selection)
EXAMINE = Command("EXAMINE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.3", select, parse_selection)
CLOSE = Command("CLOSE", State.SELECTED, Does.NOTHING, "", "RFC 9051 6.4.1", close, no_arguments)
UNSELECT = Command("UNSELECT", State.SELECTED, Does.NOTHING, "UNSELECT", "RFC 9051 6.4.2", unselect, no_arguments)
