"""STATUS. RFC 9051 6.3.11."""

from __future__ import annotations

from mailbox_app.proto.imap.status import parse_status
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.mailbox_status import status_line
from mailbox_app.services.imap.namespaces import locate
from mailbox_app.services.imap.session import Session


async def status(session: Session, request: Request, arguments: tuple[str, tuple[str, ...]]) -> None:
    """Counts, without selecting."""
    name, items = arguments
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()

    def work() -> bytes:
        located = locate(session, name, "r")
        info = session.service.deps.store.account(located.ref).mailbox(located.name)
        return status_line(session, located.ref, info, located.shown, items)

    session.write(await session.offload(work))


STATUS = Command("STATUS", State.LOGGED_IN, Does.NOTHING, "STATUS=SIZE", "RFC 9051 6.3.11", status, parse_status)
