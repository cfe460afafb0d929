"""What every process of the daemon has, opened once after the fork; `wiring.py` makes fronts and core of it."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from pathlib import Path

from mailbox_app.accounts.addresses import canonical_domain
from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.db.redis import RedisLink
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.delivery.filtering import Filters
from mailbox_app.delivery.forwarding import Forwarder, ForwardingRules
from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.mailbox_scripts import MailboxScripts
from mailbox_app.delivery.receipts import Receipts
from mailbox_app.delivery.recipients import Recipients
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.journal.decisions import Decisions
from mailbox_app.mailauth.arc_seal import ArcSealer
from mailbox_app.mailauth.dkim_sign import DkimSigner
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.opening import OpenQueue, open_queue, open_spool
from mailbox_app.mailqueue.report_signing import ReportSigner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.srs import SenderRewriting
from mailbox_app.net.resolver import DnsResolver, Resolver
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.mail_log import MailLog
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.gate import Gate
from mailbox_app.policy.state.suppressions import mail_sink
from mailbox_app.policy.state_files import StateFiles
from mailbox_app.policy.tools import Tools
from mailbox_app.runtime.daemon import Daemon
from mailbox_app.runtime.shared_state import account_names, redis_link
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Retention
from mailbox_app.store.scripts import Scripts


def retention(config: Config) -> Retention:
    """What the configuration says about expunged messages, as the store wants it."""
    rule = config.retention
    return Retention(rule.expunged_days, rule.expunged_max_bytes, rule.expunged_max_percent)


class CurrentConfig:
    """The configuration that holds now in this process; `config` is replaced at a reload."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self) -> Config:
        """For whoever asks each time."""
        return self.config


def forwarding_rules(config: Config) -> ForwardingRules:
    """What the configuration says about mail that leaves again."""
    return ForwardingRules(canonical_domain(config.forwarding.srs_domain), config.forwarding.junk)


def _srs_key(directory: SqliteDirectory) -> bytes:
    """The same in all processes and for ever, and of no use for anything else that is made of the directory's secret."""
    return hmac.digest(directory.secret(), b"sender rewriting", "sha256")


def _resolver(config: Config, clock: Clock) -> DnsResolver:
    trusts_ad = {"auto": None, "trust": True, "ignore": False}[config.dns.dnssec]
    return DnsResolver(config.dns.servers, config.dns.timeout_seconds, clock, trusts_ad=trusts_ad)


@dataclass(frozen=True, slots=True)
class Parts:
    """What every process has."""

    config: Config
    data_dir: Path
    clock: Clock
    offload: Offload
    bus: LocalBus
    metrics: Metrics
    tls: TlsContexts
    resolver: Resolver
    directory: SqliteDirectory
    store: MaildirStore
    spool: Spool
    queue: OpenQueue
    decisions: Decisions
    mail_log: MailLog
    bounces: Bounces
    forwarder: Forwarder
    recipients: Recipients
    filters: Filters
    inbound: Inbound
    mailbox_scripts: MailboxScripts
    current: CurrentConfig
    link: RedisLink | None
    """To the Redis that several nodes share."""
    state: StateFiles
    gate: Gate
    """Who may come in at all, whatever the protocol."""

    @classmethod
    def build(
        cls,
        daemon: Daemon,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Clock | None = None,
        resolver: Resolver | None = None,
    ) -> Parts:
        """Open everything; once in a process. A clock and a resolver are given where a pretend world is served."""
        config, data_dir = daemon.config, daemon.paths.data_dir
        hostname = config.server.hostname
        clock = clock or SystemClock()
        offload = Offload()
        bus = LocalBus()
        bus.bind(loop)
        metrics = Metrics()
        directory = SqliteDirectory(data_dir / "directory.db", clock)
        bus.subscribe(DIRECTORY_TOPIC, directory.look_again)
        directory.configure(config.addresses.separators, hostname)
        rewriting, rules = SenderRewriting(_srs_key(directory)), forwarding_rules(config)
        forwarder = Forwarder(directory, rewriting, ArcSealer(), offload, clock, rules)
        store = MaildirStore(data_dir, bus, hostname=hostname, clock=clock, retention=retention(config))
        spool = open_spool(config.queue, data_dir)
        link = redis_link(config, clock)
        queue = open_queue(config.queue, data_dir, spool, bus, clock, link)
        decisions = Decisions(data_dir / "journal.db", clock)
        state = StateFiles(data_dir, clock, link, account_names(directory))
        memory = FilterMemory(state.database, clock)
        filters = Filters(store, Scripts(data_dir), memory, directory, clock, hostname=hostname, settings=config.sieve)
        mail_log = MailLog([metrics.count_mail, decisions.record, mail_sink(state.state.suppressions)])
        reports = ReportSigner(directory, DkimSigner(), hostname, clock)
        bounces = Bounces(queue, spool, directory.is_local_domain, hostname, clock, reports.signed)
        receipts = Receipts(bounces, offload, clock, mail_log)
        inbound = Inbound(store, queue, spool, offload, clock, metrics, forwarder, filters, receipts)
        current = CurrentConfig(config)
        return cls(
            config=config,
            data_dir=data_dir,
            clock=clock,
            offload=offload,
            bus=bus,
            metrics=metrics,
            tls=TlsContexts(config.tls, data_dir, hostname),
            resolver=resolver or _resolver(config, clock),
            directory=directory,
            store=store,
            spool=spool,
            queue=queue,
            decisions=decisions,
            mail_log=mail_log,
            bounces=bounces,
            forwarder=forwarder,
            recipients=Recipients(directory, store, offload, clock, forwarder, state.state.suppressions.find),
            filters=filters,
            inbound=inbound,
            mailbox_scripts=MailboxScripts(store, filters, inbound.carrier, offload),
            current=current,
            link=link,
            state=state,
            gate=Gate(state.state.bans, current, clock),
        )

    def tools(self) -> Tools:
        """What the checks of the policy work with."""
        return Tools(
            config=self.current,
            resolver=self.resolver,
            offload=self.offload,
            clock=self.clock,
            metrics=self.metrics,
            hostname=self.config.server.hostname,
            directory=self.directory,
            data_dir=self.data_dir,
            state=self.state.state,
        )

    def configure(self, new: Config) -> None:
        """What every process takes from a changed configuration."""
        self.store.retention = retention(new)
        self.directory.configure(new.addresses.separators, new.server.hostname)
        self.forwarder.rules = forwarding_rules(new)
        self.filters.configure(new.sieve)

    def close(self) -> None:
        """Wait for calls under way, then close the files."""
        self.offload.close()
        self.state.close()
        self.store.close()
        self.queue.close()
        self.decisions.close()
        self.directory.close()
        if self.link is not None:
            self.link.close()
