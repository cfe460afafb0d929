"""What the POP3 service is given."""

from __future__ import annotations

from dataclasses import dataclass

from mailbox_app.accounts.interface import Authenticator
from mailbox_app.services.dependencies import SessionDependencies
from mailbox_app.store.interface import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Dependencies(SessionDependencies):
    """Everything injected."""

    store: Store
    authenticator: Authenticator
    """For USER and PASS."""
