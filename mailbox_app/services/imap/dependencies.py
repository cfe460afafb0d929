"""What the IMAP service is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailbox_app.accounts.interface import Authenticator
from mailbox_app.accounts.model import Account
from mailbox_app.delivery.mailbox_events import NO_MAILBOX_EVENTS, MailboxEvents
from mailbox_app.services.dependencies import SessionDependencies
from mailbox_app.store.interface import Store
from mailbox_app.store.search.index import SearchIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapDependencies(SessionDependencies):
    """Everything injected."""

    store: Store
    authenticator: Authenticator
    """For LOGIN; AUTHENTICATE is SASL's."""
    account_by_address: Callable[[str], Account | None]
    """Who shares a mailbox, or is to get rights to one; quick."""
    search_index: SearchIndex
    """Which messages may hold a text."""
    events: MailboxEvents = NO_MAILBOX_EVENTS
    """Who wants to know what commands did."""
    sieve_url: str = ""
    """Where scripts for events are managed; "" when nowhere: then IMAPSIEVE is not offered."""
    temporary_dir: str | None = None
    """Where a big message waits while it comes in; None: the system's."""
