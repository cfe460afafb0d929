"""What every service of logged-in sessions is given, whatever its protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from mailbox_app.accounts.model import Account
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.events.hints import Bus
from mailbox_app.ids import AccountId
from mailbox_app.net.tls import ServerTls
from mailbox_app.observe.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDependencies:
    """Injected; made by `runtime/mail_access.py`."""

    sasl: Sasl
    account_by_id: Callable[[AccountId], Account | None]
    """Whether a session's account still is what it was; quick."""
    tls: ServerTls
    offload: Offload
    bus: Bus
    clock: Clock
    config: Config
    metrics: Metrics
    log: FilteringBoundLogger
