"""FETCH. RFC 9051 6.4.5; CHANGEDSINCE and VANISHED: RFC 7162 3.1.4, 3.2.6; PARTIAL: RFC 9394 3.3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.imap.fetch import FetchRequest, parse_fetch
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.fetch_sending import send_fetched
from mailbox_app.services.imap.fetching import FetchPlan, Shortfall
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.resync import changed_positions
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.telling import tell_flags
from mailbox_app.store.model import FlagMode, SystemFlag


@dataclass(frozen=True, slots=True)
class Fetching:
    """Which messages, and what of them."""

    wanted: SequenceSet
    request: FetchRequest


def parse(cursor: Cursor) -> Fetching:
    """A set and items."""
    cursor.space()
    wanted = cursor.sequence_set()
    cursor.space()
    return Fetching(wanted, parse_fetch(cursor))


async def fetch(session: Session, request: Request, fetching: Fetching) -> None:
    """Plan once, then send in pieces: from the arrays on the loop, everything else made in a thread."""
    view = session.view
    asked = fetching.request
    if asked.changed_since is not None or "MODSEQ" in asked.items:
        session.enable_condstore()
    if asked.vanished and not (request.uid and session.qresync and asked.changed_since is not None):
        raise Refusal("VANISHED takes UID FETCH, CHANGEDSINCE and QRESYNC", status="BAD")  # RFC 7162 3.2.6
    since = asked.changed_since
    if since is not None and request.uid:
        indexes = await changed_positions(session, fetching.wanted, since, vanished=asked.vanished)
    else:
        indexes = await session.positions(fetching.wanted, uid=request.uid)
        if since is not None:
            indexes = [index for index, each in zip(indexes, view.modseqs_at(indexes), strict=True) if each > since]
    if asked.partial is not None:
        places = asked.partial.window(len(indexes))
        indexes = indexes[places.start : places.stop]
    if not indexes:
        return
    also: tuple[str, ...] = ()
    if asked.sets_seen and not view.read_only and "s" in view.rights and await _mark_seen(session, indexes):
        # In the same answer as the body: some clients take the first FETCH for the one they asked for.
        also = ("FLAGS", "MODSEQ") if session.condstore else ("FLAGS",)
    plan = FetchPlan(view, asked, also, uid=request.uid)
    if await send_fetched(session, plan, indexes):
        return
    _tell_shortfall(session, request, plan.shortfall)


def _tell_shortfall(session: Session, request: Request, shortfall: Shortfall) -> None:
    """NO when something that was asked for could not be given."""
    if shortfall.lost_count:
        session.on_hint()  # the store has put it right: tell the client
        raise Refusal("Some messages no longer exist", "EXPUNGEISSUED")
    if shortfall.undecodable_count:
        raise Refusal("A part's encoding is not known", "UNKNOWN-CTE")  # RFC 3516 4.3
    if shortfall.expunged_count and not request.uid:  # RFC 2180 4.1.3: expunged by somebody else meanwhile
        raise Refusal("Some messages no longer exist", "EXPUNGEISSUED")


async def _mark_seen(session: Session, indexes: Sequence[int]) -> bool:
    """Whether a message is seen from now on. What cannot be written now is no reason not to show the mail."""
    view = session.view
    known = zip(view.uids_at(indexes), view.flags_at(indexes), strict=True)
    unseen = [Uid(uid) for uid, flags in known if not flags & SystemFlag.SEEN]
    if not unseen:
        return False
    try:
        result = await session.offload(
            lambda: session.mail_of(view).store_flags(view.mailbox_id, unseen, FlagMode.ADD, SystemFlag.SEEN)
        )
    except StoreError as error:
        if not error.temporary:
            raise
        session.service.deps.log.warning("not marked as seen", session=session.session_id, code=error.code)
        return False
    changed = view.set_flags(result.changed)
    if session.service.deps.events.concern(view.ref):
        await tell_flags(session, view, {int(SystemFlag.SEEN): [row[0] for row in result.changed]})
    return bool(changed)


FETCH = Command(
    "FETCH", State.SELECTED, Does.HAS_UID_FORM | Does.KEEPS_NUMBERS, "", "RFC 9051 6.4.5", fetch, parse
)  # fmt: skip
