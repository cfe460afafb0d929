"""SELECT, EXAMINE, CLOSE, UNSELECT. RFC 9051 6.3.2, 6.3.3, 6.4.1, 6.4.2; CONDSTORE: RFC 7162 3.1.8."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.namespaces import Located, locate
from mailbox_app.services.imap.selected import Selected
from mailbox_app.services.imap.session import Session


@dataclass(frozen=True, slots=True)
class Selection:
    """Which mailbox, and whether MODSEQ is wanted."""

    name: str
    condstore: bool


def parse_selection(cursor: Cursor) -> Selection:
    """A mailbox and parameters in parentheses."""
    cursor.space()
    name = cursor.mailbox()
    condstore = False
    if cursor.accept(b" ("):
        cursor.expect(b"CONDSTORE)")
        condstore = True
    return Selection(name, condstore)


async def select(session: Session, request: Request, selection: Selection) -> str:
    """Leave the old mailbox, whatever happens, and enter the new one."""
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
    for line in view.flag_lines():
        session.write(line.encode("ascii"))
    session.line(f"{view.count} EXISTS")
    session.line(f"{view.recent_count} RECENT")
    if opened.first_unseen is not None:
        session.line(f"OK [UNSEEN {opened.first_unseen + 1}] First unseen")
    session.line(f"OK [UIDVALIDITY {view.uidvalidity}] UIDs valid")
    session.line(f"OK [UIDNEXT {view.uidnext}] Next UID")
    session.line(f"OK [HIGHESTMODSEQ {view.highest_modseq}] Highest")
    return f"[READ-ONLY] {request.verb} done" if read_only else f"[READ-WRITE] {request.verb} done"


@dataclass(frozen=True, slots=True)
class _Opened:
    view: Selected
    first_unseen: int | None


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
    if not read_only and first_recent < outline.info.uidnext:
        # Who lost the race to another session gets a border behind all that is in view.
        first_recent = account.claim_recent(outline.info.mailbox_id)
    view = Selected(outline, located.ref, located.rights, first_recent, read_only=read_only)
    return located, _Opened(view, outline.first_unseen)


async def close(session: Session, request: Request, arguments: None) -> None:
    """Expunge without telling, then leave; a mailbox opened by EXAMINE is only left."""
    view = session.view
    session.unselect()
    if not view.read_only:
        await session.offload(lambda: session.mail_of(view).expunge(view.mailbox_id, None))


async def unselect(session: Session, request: Request, arguments: None) -> None:
    """Leave without expunging."""
    session.unselect()


SELECT = Command("SELECT", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.2", select, parse_selection)
EXAMINE = Command("EXAMINE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.3", select, parse_selection)
CLOSE = Command("CLOSE", State.SELECTED, Does.NOTHING, "", "RFC 9051 6.4.1", close, no_arguments)
UNSELECT = Command("UNSELECT", State.SELECTED, Does.NOTHING, "UNSELECT", "RFC 9051 6.4.2", unselect, no_arguments)
