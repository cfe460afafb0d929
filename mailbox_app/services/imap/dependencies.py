"""What the IMAP service is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from mailbox_app.accounts.interface import Authenticator
from mailbox_app.accounts.model import Account
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.events.hints import Bus
from mailbox_app.ids import AccountId
from mailbox_app.net.tls import ServerTls
from mailbox_app.observe.metrics import Metrics
from mailbox_app.store.interface import Store
from mailbox_app.store.search.index import SearchIndex


@dataclass(frozen=True, slots=True)
class ImapDependencies:
    """Everything injected; made by `runtime/wiring.py`."""

    store: Store
    authenticator: Authenticator
    sasl: Sasl
    """AUTHENTICATE; the authenticator alone is for LOGIN."""
    account_by_id: Callable[[AccountId], Account | None]
    """Whether a session's account still is what it was; quick."""
    account_by_address: Callable[[str], Account | None]
    """Who shares a mailbox, or is to get rights to one; quick."""
    tls: ServerTls
    offload: Offload
    bus: Bus
    clock: Clock
    config: Config
    metrics: Metrics
    log: FilteringBoundLogger
    search_index: SearchIndex
    """Which messages may hold a text."""
    temporary_dir: str | None = None
    """Where a big message waits while it comes in; None: the system's."""
