"""NOTIFY: news of mailboxes that are not selected, and of the selected one without a command. RFC 5465."""

from __future__ import annotations

from mailbox_app.proto.imap.notify import SUPPORTED, Notify, parse_notify
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.watching import Watch


async def notify(session: Session, request: Request, wanted: Notify | None) -> None:
    """Each NOTIFY takes the place of the one before."""
    if wanted is not None and wanted.unknown:
        raise Refusal("Unknown event", f"BADEVENT ({' '.join(SUPPORTED)})")
    session.stop_watching()
    if wanted is None:
        return
    watch = session.watch = Watch(wanted, session)
    try:
        await watch.begin(tells_status=wanted.tells_status)
    except BaseException:
        session.stop_watching()
        raise


NOTIFY = Command("NOTIFY", State.LOGGED_IN, Does.LOOKS, "NOTIFY", "RFC 5465 3.1", notify, parse_notify)
