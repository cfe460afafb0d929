"""Everything a control method may use; built once by `runtime/wiring.py`.

What belongs to the runtime (listeners, processes, reload) comes as callables, so that this package knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.filtering import Filters
from mailbox_app.events.hints import Bus
from mailbox_app.ids import AccountRef
from mailbox_app.journal.audit import Audit
from mailbox_app.journal.decisions import Decisions
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailqueue.destinations.breakers import Breakers
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Lease, Outcome
from mailbox_app.mailqueue.under_way import Delivery
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.mail_log import MailLog
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.key_rotation import KeyRotation
from mailbox_app.outbound.routes.desk import RouteDesk
from mailbox_app.outbound.tls.desk import TlsDesk
from mailbox_app.policy.tools import State
from mailbox_app.store.interface import Store


@dataclass(frozen=True, slots=True)
class ListenerInfo:
    """One open port. `service` is the configuration's word: smtp, submission, imaps, ..."""

    service: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """One process of the daemon."""

    role: str
    pid: int
    started_at: datetime
    restarts: int


class BounceMaker(Protocol):
    """Writes delivery status notifications; `mailqueue.bounces.Bounces`."""

    def report(self, lease: Lease, outcomes: Sequence[Outcome], *, tried: bool = True) -> object:
        """Tell the sender about the failed recipients of a lease; durable on return. Synchronous."""
        ...


class SearchBuilds(Protocol):
    """The job that builds search indexes; `runtime.indexing.SearchIndexing`."""

    def waiting_count(self) -> int:
        """Messages known not to be indexed yet."""
        ...

    def size_bytes(self, ref: AccountRef) -> int:
        """Disk space of an account's index; blocks."""
        ...

    async def rebuild(self, ref: AccountRef, progress: Callable[[int, int], Awaitable[None]]) -> int:
        """Make an account's index anew; the number of messages."""
        ...


@dataclass(slots=True)
class ControlContext:
    """The parts of the running server. `config` is replaced at a reload."""

    config: Config
    config_path: Path
    data_dir: Path
    directory: SqliteDirectory
    hasher: Hasher
    store: Store
    search: SearchBuilds
    queue: QueueBackend
    bounces: BounceMaker
    audit: Audit
    decisions: Decisions
    mail_log: MailLog
    resolver: Resolver
    metrics: Metrics
    clock: Clock
    offload: Offload
    bus: Bus
    filters: Filters
    key_rotation: KeyRotation
    key_problems: Callable[[], Sequence[str]]
    """Sentences about signing keys whose records would not do."""
    breakers: Breakers
    """Hosts of other servers that are passed over."""
    policy_state: State
    """What the policy remembers: greylist, exemptions, bans."""
    reports: ReceivedReports
    """What other servers told us about our domains."""
    routes: RouteDesk
    """The ways out."""
    outbound_tls: TlsDesk
    """Encryption on the ways out."""
    version: str
    started_at: datetime
    listeners: Callable[[], Sequence[ListenerInfo]]
    """All open ports of all fronts, once each."""
    processes: Callable[[], Sequence[ProcessInfo]]
    connections: Callable[[], Mapping[str, int]]
    """Open connections by service or protocol, over all fronts; called in a thread."""
    lists_off: Callable[[], Sequence[str]]
    """DNS lists that are switched off because they answer wrong; called in a thread."""
    certificate_days: Callable[[], int | None]
    """Until the certificate in use ends; None: unknown or self-signed."""
    ready: Callable[[], bool]
    reload: Callable[[], Awaitable[Config]]
    """Read the file again and apply it everywhere; the new configuration. ConfigError changes nothing."""
    under_way: Callable[[], Sequence[Delivery]] = tuple
    """What this process delivers right now; called on the loop."""
    redis_up: Callable[[], bool | None] = lambda: None
    """Whether the Redis that nodes share answers; None: this server is alone."""
