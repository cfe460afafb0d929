"""NAMESPACE: own mailboxes without a prefix, those of other users below `Users/`, `/` between levels. RFC 2342."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.namespaces import USERS_PREFIX
from mailbox_app.services.imap.session import Session


async def namespace(session: Session, request: Request, arguments: None) -> None:
    """The prefixes."""
    session.line(f'NAMESPACE (("" "/")) (("{USERS_PREFIX}" "/")) NIL')


NAMESPACE = Command("NAMESPACE", State.LOGGED_IN, Does.NOTHING, "NAMESPACE", "RFC 2342", namespace, no_arguments)
