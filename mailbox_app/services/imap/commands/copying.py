"""COPY and MOVE. RFC 9051 6.4.7, 6.4.8; COPYUID: RFC 4315 3."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import SequenceSet, compress
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.namespaces import locate
from mailbox_app.services.imap.permissions import FLAG_RIGHTS, require
from mailbox_app.services.imap.replies import Refusal, refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.telling import tell_new
from mailbox_app.services.imap.transfer import transfer
from mailbox_app.store.model import Copied


@dataclass(frozen=True, slots=True)
class Target:
    """Which messages, and where to."""

    wanted: SequenceSet
    name: str


def parse_target(cursor: Cursor) -> Target:
    """A set and a mailbox."""
    cursor.space()
    wanted = cursor.sequence_set()
    cursor.space()
    return Target(wanted, cursor.mailbox())


async def copy(session: Session, request: Request, target: Target) -> str | None:
    """All or nothing; the new UIDs are told."""
    copied = await _copy(session, request, target, move=False)
    return None if copied is None else f"[{_copyuid(copied)}] COPY done"


async def move(session: Session, request: Request, target: Target) -> str | None:
    """The new UIDs first, then the expunges. RFC 6851 4.3."""
    if session.view.read_only:
        raise Refusal("Mailbox is read-only", "READ-ONLY")
    require(session.view, "te")
    copied = await _copy(session, request, target, move=True)
    if copied is not None:
        session.line(f"OK [{_copyuid(copied)}] Moved")
        await session.tell_expunged(copied.source_uids)
        return await session.done_with_modseq(request)
    return None


async def _copy(session: Session, request: Request, target: Target, *, move: bool) -> Copied | None:
    view = session.view
    uids = [Uid(uid) for uid in view.uids_at(await session.positions(target.wanted, uid=request.uid))]

    def work() -> tuple[AccountRef, MailboxId, Copied | None]:
        to = locate(session, target.name, "i")
        mailbox_id = session.service.deps.store.account(to.ref).mailbox(to.name).mailbox_id
        if not uids:
            return to.ref, mailbox_id, None
        if to.ref.account_id == view.ref.account_id and set(to.rights) >= FLAG_RIGHTS:
            return to.ref, mailbox_id, session.mail_of(view).copy(view.mailbox_id, uids, mailbox_id, move=move)
        source = (view.ref, view.mailbox_id, view.keywords)
        return to.ref, mailbox_id, transfer(session.service.deps.store, source, uids, to, move=move)

    try:
        ref, mailbox_id, copied = await session.offload(work)
    except StoreError as error:
        if error.code == "store.over_quota":
            session.service.deps.metrics.quota_exceeded.inc()
        raise refusal(error, creatable=True) from error
    if copied is None or not copied.source_uids:
        if uids and not request.uid:  # RFC 2180 4.4.1: all of them were expunged by somebody else meanwhile
            raise Refusal("The messages no longer exist", "EXPUNGEISSUED")
        return None
    await tell_new(session, ref, mailbox_id, copied.target_uids, "COPY")
    return copied


def _copyuid(copied: Copied) -> str:
    return f"COPYUID {copied.uidvalidity} {compress(copied.source_uids)} {compress(copied.target_uids)}"


COPY = Command(
    "COPY", State.SELECTED, Does.HAS_UID_FORM, "", "RFC 9051 6.4.7", copy, parse_target
)  # fmt: skip
MOVE = Command(
    "MOVE", State.SELECTED, Does.HAS_UID_FORM, "MOVE", "RFC 9051 6.4.8", move, parse_target
)  # fmt: skip
