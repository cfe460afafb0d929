"""IDLE: from now on changes are told as they happen. RFC 2177.

The handler ends at once: an idling session has no task. `Session.on_hint` wakes it, `DONE` ends it.
"""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.session import Session


async def idle(session: Session, request: Request, arguments: None) -> None:
    """Tell what is new already, then wait for hints."""
    session.write(b"+ idling\r\n")
    await session.look_or_later(expunges=True)
    session.idle_tag = request.tag
    await session.drain()


IDLE = Command("IDLE", State.LOGGED_IN, Does.ANSWERS_ITSELF, "IDLE", "RFC 2177", idle, no_arguments)
