"""REPLACE: a new message for an old one, in one transaction. RFC 8508."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.errors import ProtocolError, StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.appending import Intake
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.append import Appending, begin_intake, parse_append, store_refusal
from mailbox_app.services.imap.namespaces import permission_denied
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.telling import tell_new
from mailbox_app.store.model import Replaced


@dataclass(frozen=True, slots=True)
class Replacing:
    """Which message, and what comes for it."""

    old: SequenceSet
    new: Appending


def parse_replace(cursor: Cursor) -> Replacing:
    """One number (or `*`), then as APPEND."""
    cursor.space()
    old = cursor.sequence_set()
    if len(old.ranges) != 1 or old.ranges[0][0] != old.ranges[0][1]:
        raise ProtocolError("imap.syntax", "one message expected")
    return Replacing(old, parse_append(cursor))


async def replace(session: Session, request: Request, replacing: Replacing) -> None:
    """The new message is told before the old one goes. RFC 8508 3.4."""
    try:
        uid = await _old_uid(session, request, replacing)
    except (Refusal, StoreError):
        Intake.leave(session, replacing.new.steps)
        raise
    target, intake = await begin_intake(session, replacing.new, single=True)
    view = session.view
    try:
        (taken,) = await intake.run(replacing.new.reader, replacing.new.steps)
        if target.ref.account_id != view.ref.account_id:
            raise Refusal("Both mailboxes must have one owner", "CANNOT")
        message = taken.new_message(target.name)
        intake.stored()

        def work() -> Replaced:
            return session.mail_of(view).replace(view.mailbox_id, uid, message)

        replaced = await session.offload(work)
    except StoreError as error:
        raise store_refusal(session, error) from error
    finally:
        await intake.close()
    appended = replaced.appended
    session.line(f"OK [APPENDUID {appended.uidvalidity} {appended.uid}] Replacement stored")
    if view.mailbox_id == appended.mailbox_id:
        await session.look_or_later(expunges=False, uid=request.uid)
    await session.tell_expunged([uid])
    await tell_new(session, target.ref, appended.mailbox_id, [appended.uid], "APPEND")


async def _old_uid(session: Session, request: Request, replacing: Replacing) -> Uid:
    view = session.view
    if view.read_only:
        raise Refusal("Mailbox is read-only", "READ-ONLY")
    if not {"t", "e"} <= set(view.rights):
        raise permission_denied()
    found = await session.positions(replacing.old, uid=request.uid)
    if not found:
        raise Refusal("No such message", "NONEXISTENT")
    return Uid(view.uids_at(found)[0])


REPLACE = Command(
    "REPLACE", State.SELECTED, Does.STREAMS | Does.HAS_UID_FORM, "REPLACE", "RFC 8508", replace, parse_replace
)  # fmt: skip
