"""Builds all objects: read it from top to bottom to see how the server hangs together.

`Parts` (`parts.py`) are what every process has (directory, store, queue, journal, clock, hints); a front adds sessions
(`mail_exchange.py`, `mail_access.py`), the core the queue runner and the control socket. Each process builds its own after the
fork; nothing here is shared but files, sockets and the board. `initialise` makes the databases once before the first fork.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.introspection import Introspection
from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.login_failures import LoginFailures
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import SystemClock
from mailbox_app.config.paths import Paths
from mailbox_app.config.schema import Config
from mailbox_app.control.context import ControlContext, ListenerInfo, ProcessInfo
from mailbox_app.control.server import ControlServer
from mailbox_app.delivery.rejects import Rejects
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hub import HubClient, HubServer
from mailbox_app.ids import AccountRef
from mailbox_app.journal.audit import Audit
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.net import unix_socket
from mailbox_app.observe.metrics import Metrics, exposition, total
from mailbox_app.policy.learning import Learner
from mailbox_app.policy.lessons import Lessons
from mailbox_app.policy.login_bans import LoginBans
from mailbox_app.policy.state.kept import KeptMail
from mailbox_app.policy.state.learning_marks import LearningMarks
from mailbox_app.policy.state_files import prepare
from mailbox_app.runtime import memory
from mailbox_app.runtime.core import Core, Purge, Reloader, Upkeep
from mailbox_app.runtime.daemon import CORE_SERVICES, FRONT_SERVICES, Daemon
from mailbox_app.runtime.front import Front
from mailbox_app.runtime.indexing import SearchIndexing
from mailbox_app.runtime.key_watch import KeyWatch
from mailbox_app.runtime.learning import Learning
from mailbox_app.runtime.mail_access import imap_service, managesieve_service, pop3_service
from mailbox_app.runtime.mail_exchange import reporting, smtp_service
from mailbox_app.runtime.mail_out import MailOut, build_mail_out
from mailbox_app.runtime.outbound_tls import TlsUpkeep
from mailbox_app.runtime.parts import Parts, retention
from mailbox_app.runtime.process import Part
from mailbox_app.runtime.queue_place import queue_jobs
from mailbox_app.runtime.repairs import RepairWatch
from mailbox_app.runtime.shared_state import node_jobs
from mailbox_app.runtime.signing_keys import key_watch
from mailbox_app.runtime.state_refresh import refresh_state
from mailbox_app.services.web.health import HealthChecks, Probes
from mailbox_app.services.web.server import WebService
from mailbox_app.store.search.builder import IndexBuilder

_IDLE_INDEX_SECONDS = 2.0
"""An account's index that nobody used for so long is closed; opening it again takes half a millisecond."""


def initialise(paths: Paths) -> None:
    """Make what an empty data folder lacks, bring the databases to this version, and close them again."""
    for name in ("mail", "queue", "keys", "certs", "tmp"):
        (paths.data_dir / name).mkdir(mode=0o700, exist_ok=True)
    directory = SqliteDirectory(paths.data_dir / "directory.db")
    directory.secret()
    directory.close()
    prepare(paths.data_dir)
    SqliteQueue(paths.data_dir / "queue.db", Spool(paths.data_dir / "queue"), LocalBus()).close()
    Audit(paths.data_dir / "journal.db", SystemClock()).close()


def build_front(daemon: Daemon, index: int, loop: asyncio.AbstractEventLoop) -> Sequence[Part]:
    """The process that serves the sockets with this index."""
    parts = Parts.build(daemon, loop)
    hub = HubClient(parts.bus, lambda: unix_socket.connect_nonblocking(daemon.paths.hub_socket), parts.clock)
    front = _front(daemon, index, parts, hub, parts.close)
    kept = [daemon.imap_listener, *(sock for _, sock in daemon.sockets(FRONT_SERVICES, index))]
    if daemon.submit_listener is not None:
        kept.append(daemon.submit_listener)
    daemon.close_sockets_except(kept)
    return [front]


def build_core(daemon: Daemon, loop: asyncio.AbstractEventLoop) -> Sequence[Part]:
    """The process behind the fronts."""
    assert daemon.hub_listener is not None
    parts = Parts.build(daemon, loop)
    core = _core(daemon, parts, HubServer(parts.bus, daemon.hub_listener), parts.close)
    daemon.close_sockets_except([daemon.hub_listener, *(sock for _, sock in daemon.sockets(CORE_SERVICES, 0))])
    return [core]


def build_single(daemon: Daemon, loop: asyncio.AbstractEventLoop) -> Sequence[Part]:
    """Everything in one process."""
    parts = Parts.build(daemon, loop)
    return [_core(daemon, parts, None, parts.close), _front(daemon, 0, parts, None, lambda: None)]


def _front(daemon: Daemon, index: int, parts: Parts, hub: HubClient | None, close: Callable[[], None]) -> Front:
    config = parts.config
    watch = LoginBans(parts.state.state.rates, parts.gate, parts.current)
    failures = LoginFailures(parts.state.failures, parts.clock, daemon.login_key, watch)
    authenticator = PasswordAuthenticator(parts.directory, parts.offload, parts.clock, parts.metrics, failures=failures)
    sasl = Sasl(authenticator, proofs=authenticator)

    def configure_logins(new: Config) -> None:
        tokens = Introspection(new.oauth, parts.offload, parts.clock) if new.oauth.introspection_url else None
        sasl.configure(new.login.mechanisms, require_tls=new.tls.require_tls, tokens=tokens)

    configure_logins(config)

    def configure(new: Config) -> None:
        parts.current.config = new
        configure_logins(new)
        parts.configure(new)

    smtp = smtp_service(parts, sasl)
    managesieve_port = next((each.port for each in daemon.listeners if each.service == "managesieve"), 0)

    def let_go() -> None:
        parts.state.refresh()
        if parts.store.let_go(_IDLE_INDEX_SECONDS):
            memory.give_back()

    return Front(
        smtp,
        smtp.for_lmtp(),
        imap_service(parts, authenticator, sasl, managesieve_port=managesieve_port),
        pop3_service(parts, authenticator, sasl),
        managesieve_service(parts, sasl),
        parts.tls,
        configure,
        hub,
        daemon.sockets(FRONT_SERVICES, index),
        daemon.imap_listener,
        lambda: parts.offload.run(let_go),
        close,
        config.proxy.trusted_networks,
        parts.mailbox_scripts,
        daemon.submit_listener,
    )


def _core(daemon: Daemon, parts: Parts, hub: HubServer | None, close: Callable[[], None]) -> Core:
    out = build_mail_out(parts)

    def refs() -> Sequence[AccountRef]:
        return [account.ref for account in parts.directory.accounts()]

    upkeep = _upkeep(daemon, parts, refs, out)
    reloader = Reloader(daemon.paths, daemon.supervisor_pid, parts.offload)
    audit = Audit(parts.data_dir / "journal.db", parts.clock)
    indexing = _indexing(parts, refs)
    received = ReceivedReports(parts.data_dir / "reports.db")
    keys = key_watch(parts, audit)
    context = _control_context(daemon, parts, audit, indexing, received, reloader, keys, out)

    def apply(new: Config) -> None:
        out.configure(new)
        context.config = parts.current.config = new
        parts.store.retention = retention(new)

    def close_all() -> None:
        close()
        audit.close()
        received.close()
        out.tls.memory.close()
        out.tls_rows.close()

    return Core(
        hub,
        ControlServer(context, daemon.paths.control_socket),
        out.runner,
        _web(daemon, parts, upkeep, keys, out),
        [
            out.delays.run,
            out.forgetting.run,
            upkeep.run,
            RepairWatch(parts.data_dir, audit, parts.offload, parts.bus).run,
            indexing.run,
            _learning(parts, refs).run,
            keys.run,
            TlsUpkeep(out.tls, out.tls_desk.dnssec, parts.offload, parts.clock).run,
            reporting(parts, received, out.tls_rows).run,
            lambda: refresh_state([parts.state.refresh, out.tls_rows.sync], parts.offload, parts.clock),
            *node_jobs(parts, hub),
            *queue_jobs(parts),
        ],
        reloader,
        parts.tls,
        daemon.sockets(CORE_SERVICES, 0),
        apply,
        close_all,
    )


def _upkeep(daemon: Daemon, parts: Parts, refs: Callable[[], Sequence[AccountRef]], out: MailOut) -> Upkeep:
    rejects = Rejects(parts.store, parts.offload, parts.clock, lambda: parts.current.config)

    def purge_one(ref: AccountRef) -> bool:
        rejects.expire(ref)
        return parts.store.purge(ref)

    purge = Purge(refs, purge_one, parts.offload, parts.clock)
    return Upkeep(out.runner.recover, purge, parts.metrics, parts.clock, daemon.started_at)


def _indexing(parts: Parts, refs: Callable[[], Sequence[AccountRef]]) -> SearchIndexing:
    return SearchIndexing(
        IndexBuilder(parts.store, parts.data_dir),
        refs,
        lambda number: account.ref if (account := parts.directory.account_by_id(number)) else None,
        parts.bus,
        parts.offload,
        parts.clock,
        parts.metrics,
        lambda: parts.store.let_go(_IDLE_INDEX_SECONDS),
    )


def _learning(parts: Parts, refs: Callable[[], Sequence[AccountRef]]) -> Learning:
    state = parts.state
    lessons = Lessons(state.state.corpus, state.state.reputation, parts.config.server.hostname)
    marks, kept = LearningMarks(state.junk, parts.clock), KeptMail(state.junk, parts.clock)
    learner = Learner(parts.store, lessons, marks, kept, lambda: parts.current.config.junk.rejects_mailbox)
    return Learning(
        learner.catch_up,
        kept.accounts_due,
        refs,
        lambda number: account.ref if (account := parts.directory.account_by_id(number)) else None,
        lambda: parts.current.config.junk.learn,
        parts.bus,
        parts.offload,
        parts.clock,
        parts.metrics,
    )


def _control_context(
    daemon: Daemon,
    parts: Parts,
    audit: Audit,
    indexing: SearchIndexing,
    received: ReceivedReports,
    reloader: Reloader,
    keys: KeyWatch,
    out: MailOut,
) -> ControlContext:
    return ControlContext(
        config=parts.config,
        config_path=daemon.paths.config_file,
        data_dir=parts.data_dir,
        directory=parts.directory,
        hasher=Hasher(),
        store=parts.store,
        search=indexing,
        queue=parts.queue,
        bounces=parts.bounces,
        audit=audit,
        decisions=parts.decisions,
        mail_log=parts.mail_log,
        resolver=parts.resolver,
        metrics=parts.metrics,
        clock=parts.clock,
        offload=parts.offload,
        bus=parts.bus,
        filters=parts.filters,
        key_rotation=keys.rotation,
        key_problems=keys.problems,
        breakers=out.breakers,
        policy_state=parts.state.state,
        reports=received,
        routes=out.desk,
        outbound_tls=out.tls_desk,
        under_way=out.under_way.all,
        version=version("mailbox"),
        started_at=daemon.started_at,
        listeners=lambda: [ListenerInfo(each.service, each.address, each.port) for each in daemon.listeners],
        processes=lambda: _processes(daemon),
        connections=lambda: _connections(daemon, parts.metrics),
        lists_off=lambda: _lists_off(daemon, parts.metrics),
        certificate_days=lambda: None if parts.tls.self_signed else parts.tls.certificate_days(),
        ready=lambda: all(row.ready for row in daemon.board.rows()),
        reload=reloader.reload,
        redis_up=lambda: parts.link.is_up if parts.link is not None else None,
    )


def _web(daemon: Daemon, parts: Parts, upkeep: Upkeep, keys: KeyWatch, out: MailOut) -> WebService:
    def metrics_text() -> bytes:
        upkeep.note_uptime()
        return exposition(parts.metrics, daemon.metrics_dir) + out.breakers.exposition()

    def lists_off() -> Sequence[str]:
        return _lists_off(daemon, parts.metrics)

    def down() -> Sequence[str]:
        return [row.role for row in daemon.board.rows() if not row.ready]

    probes = Probes(
        parts.directory,
        parts.queue,
        parts.data_dir,
        parts.tls.certificate_days,
        down,
        lists_off,
        key_problems=keys.problems,
        outbound_trouble=out.desk.trouble,
        dane=lambda: out.tls_desk.dnssec.sentence,
        redis=parts.link.check if parts.link is not None else None,
    )

    async def admits(remote_ip: str) -> bool:
        if parts.gate.is_exempt(remote_ip):
            return True
        await parts.offload.run(parts.state.state.bans.refresh)
        return parts.gate.admits(remote_ip, "http")

    return WebService(metrics_text, HealthChecks(probes, parts.offload, parts.clock), admits)


def _processes(daemon: Daemon) -> Sequence[ProcessInfo]:
    supervisor = ProcessInfo("supervisor", daemon.supervisor_pid, daemon.started_at, 0)
    roles = [
        ProcessInfo(row.role, row.pid, datetime.fromtimestamp(row.started_at_seconds, UTC), row.restarts)
        for row in daemon.board.rows()
    ]
    return roles if daemon.hub_listener is None else [supervisor, *roles]


def _lists_off(daemon: Daemon, metrics: Metrics) -> Sequence[str]:
    off = total(metrics, daemon.metrics_dir, "mailserver_dns_list_off")
    return sorted(zone for zone, value in off.items() if value)


def _connections(daemon: Daemon, metrics: Metrics) -> Mapping[str, int]:
    open_now = total(metrics, daemon.metrics_dir, "mailserver_active_connections")
    return {protocol: int(count) for protocol, count in open_now.items()}
