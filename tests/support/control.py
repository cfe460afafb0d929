"""A real control server on a real socket, with real databases in a temporary folder, for control and command-line tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.load import load
from mailbox_app.config.schema import Config
from mailbox_app.control.context import ControlContext, ListenerInfo, ProcessInfo
from mailbox_app.control.server import ControlServer
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.delivery.filtering import Filters
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import QueueId
from mailbox_app.journal.audit import Audit
from mailbox_app.journal.decisions import Decisions
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.destinations.breaker_store import MemoryBreakerStore
from mailbox_app.mailqueue.destinations.breakers import Breakers
from mailbox_app.mailqueue.model import Envelope, NewRecipient
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.net.authority import ZoneServers
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics, total
from mailbox_app.outbound.key_rotation import KeyRotation
from mailbox_app.outbound.routes.desk import RouteDesk
from mailbox_app.outbound.tls.desk import TlsDesk
from mailbox_app.outbound.tls.dnssec import Dnssec
from mailbox_app.outbound.transport import SmtpTransport
from mailbox_app.policy.state_files import StateFiles
from mailbox_app.runtime.indexing import SearchIndexing
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.scripts import Scripts
from mailbox_app.store.search.builder import IndexBuilder
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import outbound_tls

HOSTNAME = "mail.example.org"


class QuietMailLog(MailLog):
    """Feeds the sinks and prints nothing between the command line's output."""

    def write(self, event: MailEvent) -> None:
        for sink in self._sinks:
            sink(event)


@dataclass(slots=True)
class Appliance:
    """What stands behind the socket."""

    context: ControlContext
    server: ControlServer
    socket_path: Path
    config_path: Path
    spool: Spool
    state: StateFiles

    def enqueue(self, sender: str, recipients: Sequence[str], body: bytes = b"Subject: hello\r\n\r\nhi\r\n") -> QueueId:
        """A message in the queue, due at once."""
        queue = self.context.queue
        spooled = self.spool.write(b"", body)
        envelope = Envelope(sender, message_id="<1@example.org>")
        return queue.enqueue(envelope, [NewRecipient(each) for each in recipients], spooled, self.context.clock.now())


def build(folder: Path, clock: Clock | None = None) -> Appliance:
    """All objects, not yet listening."""
    data_dir, config_path = folder / "data", folder / "config.toml"
    (data_dir / "run").mkdir(parents=True)
    config_path.write_text(f'# ours\n[server]\nhostname = "{HOSTNAME}"\ndata_dir = "{data_dir}"\n')
    clock, bus = clock or SystemClock(), LocalBus()
    spool = Spool(data_dir / "queue")
    queue = SqliteQueue(data_dir / "queue.db", spool, bus, clock)
    directory = SqliteDirectory(data_dir / "directory.db", clock)
    decisions = Decisions(data_dir / "journal.db", clock)

    store = MaildirStore(data_dir, bus, hostname=HOSTNAME, clock=clock)
    offload, metrics, resolver = Offload(4), Metrics(), FakeResolver()

    async def reload() -> Config:
        return load(config_path)

    state = StateFiles(data_dir, clock)
    delivery = load(config_path).delivery
    tls = outbound_tls(resolver, data_dir, delivery, offload, clock)
    transport = SmtpTransport(resolver, hostname=HOSTNAME, config=delivery, offload=offload, clock=clock, tls=tls)
    context = ControlContext(
        config=load(config_path),
        config_path=config_path,
        data_dir=data_dir,
        directory=directory,
        hasher=Hasher(),
        store=store,
        search=SearchIndexing(
            IndexBuilder(store, data_dir),
            lambda: [account.ref for account in directory.accounts()],
            lambda number: None,
            bus,
            offload,
            clock,
            metrics,
            lambda: None,
        ),
        queue=queue,
        bounces=Bounces(queue, spool, directory.is_local_domain, HOSTNAME, clock),
        audit=Audit(data_dir / "journal.db", clock),
        decisions=decisions,
        mail_log=QuietMailLog([decisions.record]),
        resolver=resolver,
        metrics=metrics,
        clock=clock,
        offload=offload,
        bus=bus,
        filters=Filters(
            store, Scripts(data_dir), FilterMemory(state.database, clock), directory, clock, hostname=HOSTNAME
        ),
        key_rotation=KeyRotation(
            directory,
            ZoneServers(resolver, 53),
            resolver,
            offload,
            clock,
            lambda step: None,
            lambda: timedelta(days=180),
        ),
        key_problems=tuple,
        breakers=Breakers(MemoryBreakerStore(), offload, clock, metrics),
        policy_state=state.state,
        reports=ReceivedReports(data_dir / "reports.db"),
        routes=RouteDesk(transport, clock),
        outbound_tls=TlsDesk(tls, transport, Dnssec(resolver), offload, clock),
        version="1.2.3",
        started_at=clock.now(),
        listeners=lambda: [ListenerInfo("imaps", "127.0.0.1", 40123)],
        processes=lambda: [ProcessInfo("core", 1, datetime.now(UTC), 0)],
        connections=lambda: {"imaps": 3},
        lists_off=lambda: sorted(
            zone for zone, value in total(metrics, None, "mailserver_dns_list_off").items() if value
        ),
        certificate_days=lambda: 61,
        ready=lambda: True,
        reload=reload,
    )
    socket_path = data_dir / "run" / "control.sock"
    return Appliance(context, ControlServer(context, socket_path), socket_path, config_path, spool, state)


def close(appliance: Appliance) -> None:
    """Close the files."""
    context = appliance.context
    context.offload.close()
    appliance.state.close()
    context.decisions.close()
    context.reports.close()
    context.audit.close()
    context.directory.close()
    for each in (context.store, context.queue):
        each.close()  # type: ignore[attr-defined]


class Background:
    """The server on a loop in its own thread, so that a test may be the blocking client."""

    def __init__(self, folder: Path) -> None:
        self.appliance = build(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Appliance:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.appliance.server.start(), self._loop).result(10)
        return self.appliance

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.appliance.server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        close(self.appliance)
