"""EXPUNGE and UID EXPUNGE. RFC 9051 6.4.3, RFC 4315 2.1."""

from __future__ import annotations

from mailbox_app.ids import Uid
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.permissions import require
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


def parse_expunge(cursor: Cursor) -> SequenceSet | None:
    """Nothing, or the UID form's set."""
    if cursor.at_end():
        return None
    cursor.space()
    return cursor.sequence_set()


async def expunge(session: Session, request: Request, wanted: SequenceSet | None) -> str | None:
    """Remove what is marked; the numbers are taken from the view before anything leaves it."""
    if request.uid == (wanted is None):
        raise Refusal("UID EXPUNGE takes UIDs, EXPUNGE nothing", status="BAD")
    view = session.view
    if view.read_only:
        raise Refusal("Mailbox is read-only", "READ-ONLY")
    require(view, "e")
    uids = None
    if wanted is not None:
        uids = [Uid(uid) for uid in view.uids_at(await session.positions(wanted, uid=True))]
        if not uids:
            return None
    removed = await session.offload(lambda: session.mail_of(view).expunge(view.mailbox_id, uids))
    await session.tell_expunged(removed)
    return await session.done_with_modseq(request) if removed else None


EXPUNGE = Command(
    "EXPUNGE", State.SELECTED, Does.HAS_UID_FORM | Does.TAKES_NO_NUMBERS, "", "RFC 9051 6.4.3", expunge, parse_expunge
)
