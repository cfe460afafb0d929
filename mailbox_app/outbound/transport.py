"""Delivers one lease to the hosts of its domain. The queue's only view of SMTP.

The way is decided at each attempt (`routes`): recipients of one lease may take different ones, each walked by itself. Hosts are
tried in order until each recipient has a verdict. What is left then is deferred with the last host's trouble; it fails only
when every host said by itself that it takes no mail (5xx in the greeting). The whole walk ends within a time that grows with
the message's size and is less than a lease lasts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.routes import Routes
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.delivery_marks import DeliveryMarks
from mailbox_app.mailqueue.destinations.breaker_store import MemoryBreakerStore
from mailbox_app.mailqueue.destinations.breakers import Breakers, Refusal
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueuedRecipient
from mailbox_app.mailqueue.spool import is_lost
from mailbox_app.mailqueue.under_way import UnderWay
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.next_hop import MailHost, NextHops, Unroutable
from mailbox_app.outbound.passages import Passages, Visit
from mailbox_app.outbound.pool import Crowded, Place, Pool
from mailbox_app.outbound.reach import Reach
from mailbox_app.outbound.replies import clean
from mailbox_app.outbound.routes.choosing import Encryption, Route, RouteTable, grouped
from mailbox_app.outbound.routes.smarthost_auth import log_in
from mailbox_app.outbound.routes.sources import Families
from mailbox_app.outbound.routes.states import RouteStates
from mailbox_app.outbound.smtp_client import CONNECT_SECONDS, HostTrouble, NoConnection, SmtpConnection, TlsTrouble
from mailbox_app.outbound.tls.out import OutboundTls
from mailbox_app.outbound.tls.policy import Demand
from mailbox_app.outbound.transaction import Transaction, Verdict
from mailbox_app.outbound.walk import Walk

_TOTAL_SECONDS = 900.0
_TOTAL_BYTES_PER_SECOND = 131_072
"""Large messages get this much longer, up to `_MOST_SECONDS`."""
_MOST_SECONDS = 1100.0
_HASTY_SECONDS = 5.0
"""To connect, when there is another address to try: a dead one must not eat the attempt."""
_CROWDED_SECONDS = 5.0
_CONNECTIONS_IN_A_ROW = 100
"""To a host that takes only so many recipients over one."""


class SmtpTransport:
    """The transport "smtp"."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        hostname: str,
        config: Delivery,
        offload: Offload,
        clock: Clock,
        tls: OutboundTls,
        passages: Passages | None = None,
        routes: Routes | None = None,
        families: Families | None = None,
        states: RouteStates | None = None,
    ) -> None:
        self._resolver = resolver
        self._hostname = hostname
        self._pool = Pool()
        self._passages = passages or Passages(
            Breakers(MemoryBreakerStore(), offload, clock, Metrics()), None, offload, clock
        )
        self._tls = tls
        self._offload = offload
        self._clock = clock
        self.families = families or Families(resolver, clock)
        self.states = states or RouteStates(clock)
        self.under_way = UnderWay()
        """Where it is told which host is talked to; the runner's own takes its place."""
        self.marks: DeliveryMarks | None = None
        """The runner's: where it is told at once what a host has taken."""
        self._log = structlog.get_logger("outbound")
        self.reach = Reach(clock, config.port)
        self.configure(config, routes or Routes())

    def configure(self, config: Delivery, routes: Routes) -> None:
        """Take a changed configuration: it holds for every attempt that begins from now on. Raises nothing half way."""
        self._tls.configure(config)
        self.routes = RouteTable(config, routes)
        self.states.forget_refusals()
        self.hops = NextHops(
            self._resolver,
            hostname=self._hostname,
            port=config.port,
            allow_private_addresses=config.allow_private_addresses,
        )
        if self.reach.mx_port != config.port:
            self.reach = Reach(self._clock, config.port)

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient."""
        message = lease.message
        started = self._clock.monotonic_seconds()
        given_up_at = asyncio.get_running_loop().time() + _total_seconds(message.size_bytes)
        recipients = message.recipients
        outcomes: list[Outcome] = []
        ways = grouped(self.routes, message.envelope.sender, [(one.address, one.route) for one in recipients])
        for way, places in ways.values():
            mine = [recipients[place] for place in places]
            walk = Walk(lease, mine, way if isinstance(way, Route) else Route(""))
            try:
                if isinstance(way, Unroutable):
                    raise way
                async with asyncio.timeout_at(given_up_at):
                    await self._walk(walk)
            except Unroutable as error:
                walk.last = Verdict(error.fate, error.smtp_code, error.enhanced, error.public_text)
            except TimeoutError:
                walk.last = Verdict(Fate.DEFERRED, 451, "4.4.7", "the delivery took too long and was broken off")
            except OSError as error:
                self._log.error("spool file unreadable", queue_id=message.queue_id, error=str(error))
                walk.last = _unreadable(error, lease.spool_path)
            outcomes += walk.outcomes(self._clock.monotonic_seconds() - started)
        return outcomes

    def close(self) -> None:
        """Leave the hosts that still have a connection."""
        self._pool.close()

    async def _walk(self, walk: Walk) -> None:
        """Host after host, address after address, until every recipient has its verdict."""
        if not await self._has_turn(walk):
            return
        walk.families = await self.families.decide(walk.route)
        hosts = walk.route.hosts or await self.hops.hosts(walk.destination)
        admitted: set[str] = set()
        for number, host in enumerate(hosts):
            visit = await self._passages.enter(walk.lease, host, admitted)
            if isinstance(visit, Refusal):
                walk.refusals.append(visit)
                continue
            admitted.add(visit.provider)
            try:
                await self._visit(walk, host, visit, is_last=number + 1 == len(hosts))
            finally:
                await visit.end()
            if not walk.waiting():
                return
        if walk.refusals:
            await self._pass_over(walk)

    async def _visit(self, walk: Walk, host: MailHost, visit: Visit, *, is_last: bool) -> None:
        """Address after address of one host."""
        try:
            addresses = self.reach.ordered(await self.hops.addresses(host, walk.families))
            demand = await self.demand(walk, host)
        except Unroutable as error:
            walk.note(Verdict(error.fate, error.smtp_code, error.enhanced, error.public_text))
            return
        except HostTrouble as trouble:  # a policy keeps mail from the host; nothing is wrong with reaching it
            fate = Fate.DEFERRED if trouble.temporary else Fate.FAILED
            walk.note(Verdict(fate, trouble.smtp_code, trouble.enhanced, trouble.public_text, said=trouble.said))
            return
        for place, address in enumerate(addresses):
            walk.host = walk.tls = ""
            walk.has_another = place + 1 < len(addresses) or not is_last
            try:
                await self._try(walk, host, address, visit, demand)
            except HostTrouble as trouble:
                visit.note(trouble)
                fate = Fate.DEFERRED if trouble.temporary else Fate.FAILED
                walk.note(Verdict(fate, trouble.smtp_code, trouble.enhanced, trouble.public_text, said=trouble.said))
                self.states.failed(walk.route.name, trouble.public_text)
            except Crowded:
                walk.note(self._postponed(f"{host.name} has as many connections from here as it may", _CROWDED_SECONDS))
            if not walk.waiting():
                return

    async def _pass_over(self, walk: Walk) -> None:
        """Some or all hosts were not tried: nothing fails for good before they are."""
        if walk.last is None:
            for_all = not self.routes.depends_on_message
            retry_at, sentence = await self._passages.put_off(
                walk.lease, walk.refusals, for_all=for_all, route=walk.waiting()[0].route
            )
            walk.last = Verdict(Fate.POSTPONED, 451, "4.4.1", sentence, retry_at)
        elif walk.last.fate not in (Fate.DEFERRED, Fate.POSTPONED):
            walk.last = Verdict(Fate.DEFERRED, 451, "4.4.1", walk.refusals[0].sentence)

    async def _has_turn(self, walk: Walk) -> bool:
        """Whether the route lets a message go now, by its rate and its login; else it is put off."""
        if seconds := self.states.seconds_to_login(walk.route.name):
            walk.last = self._postponed(
                f"the login of the route {walk.route.name} was refused and is tried again later; the last answer:"
                f" {self.states.state(walk.route.name).last_failure}",
                seconds,
            )
            return False
        seconds = self.states.seconds_to_wait(walk.route)
        if not seconds:
            return True
        walk.last = self._postponed(
            f"the route {walk.route.name} takes {walk.route.rate} messages in a minute", seconds
        )
        return False

    def _postponed(self, why: str, seconds: float) -> Verdict:
        return Verdict(Fate.POSTPONED, 451, "4.4.5", clean(why), self._clock.now() + timedelta(seconds=seconds))

    async def demand(self, walk: Walk, host: MailHost) -> Demand:
        """What the host must show before it gets this mail."""
        named = bool(walk.route.hosts)
        domain = host.name if named else walk.destination
        if (rules := walk.rules.get(domain)) is None:
            verify = f"the route {walk.route.name}" if walk.route.verify else ""
            envelope = walk.lease.message.envelope
            rules = walk.rules[domain] = await self._tls.rules(domain, envelope, named=named, verify=verify)
        return await self._tls.demand(rules, host, walk.route)

    async def _try(self, walk: Walk, host: MailHost, address: str, visit: Visit, demand: Demand) -> None:
        """What one address makes of the recipients that have no verdict yet."""
        self.under_way.at(walk.lease, f"{host.name} [{address}]")
        source, _ = walk.source_for(address)
        place = Place(walk.route.name, source, host.name, address, host.port)
        async with self._pool.turn(place, walk.route.concurrency):
            for _ in range(_CONNECTIONS_IN_A_ROW):
                if not await self._hand_over(walk, host, address, visit, demand, place):
                    return

    async def _hand_over(
        self, walk: Walk, host: MailHost, address: str, visit: Visit, demand: Demand, place: Place
    ) -> bool:
        """One connection's share; True when the host wants another connection for those that are left."""
        kept = await self._kept(place, demand)
        if kept is not None:
            try:
                return await self._hand_over_by(kept, walk, host, address, visit, demand, place)
            except HostTrouble:
                if not walk.is_untouched:  # else it went while it waited: a fresh one tells how the host is
                    raise
        connection = await self._open(walk, host, address, demand)
        visit.greeted()
        return await self._hand_over_by(connection, walk, host, address, visit, demand, place)

    async def _hand_over_by(
        self,
        connection: SmtpConnection,
        walk: Walk,
        host: MailHost,
        address: str,
        visit: Visit,
        demand: Demand,
        place: Place,
    ) -> bool:
        place = place._replace(level=demand.place(connection.tls))
        walk.host, walk.tls = f"{host.name} [{address}]", connection.tls
        transaction = Transaction(connection, walk.lease, self._offload, partial(self._note_taken, walk))
        try:
            await transaction.run(walk.waiting())
        except BaseException:
            connection.close()
            raise
        finally:
            walk.is_untouched = not transaction.verdicts
            walk.take(transaction.verdicts)
            for verdict in transaction.verdicts.values():
                visit.answered(verdict.code, verdict.enhanced, verdict.text)
                visit.greeted()
        self.states.used(walk.route.name)
        if transaction.in_step:
            self._pool.keep(place, connection)
        else:
            connection.close()
        return transaction.needs_another and bool(walk.waiting())

    def _note_taken(self, walk: Walk, recipients: Sequence[QueuedRecipient], verdict: Verdict) -> None:
        """The host has them: marked before anything else happens."""
        if self.marks is not None:
            self.marks.note(walk.lease, [walk.outcome(one, verdict, walk.host, walk.tls, 0.0) for one in recipients])

    async def open(self, walk: Walk, host: MailHost, address: str) -> SmtpConnection:
        """As for a message, without one: for trials. Close or leave it."""
        return await self._open(walk, host, address, await self.demand(walk, host))

    async def _kept(self, place: Place, demand: Demand) -> SmtpConnection | None:
        """A kept connection that has shown as much as is demanded."""
        for level in demand.places():
            if (connection := await self._pool.take(place._replace(level=level))) is not None:
                return connection
        return None

    async def _open(self, walk: Walk, host: MailHost, address: str, demand: Demand) -> SmtpConnection:
        """A fresh connection, greeted and as encrypted as it must be."""
        try:
            return await self._greeted(walk, host, address, demand, walk.route.encryption)
        except TlsTrouble as trouble:
            if walk.route.encryption != "policy" or not await self._tls.wants_clear(demand, trouble):
                raise
        return await self._greeted(walk, host, address, demand, "none")

    async def _greeted(
        self, walk: Walk, host: MailHost, address: str, demand: Demand, encryption: Encryption
    ) -> SmtpConnection:
        connection = await self.connect(walk, host, address)
        walk.host = f"{host.name} [{address}]"
        try:
            name = walk.source_for(address)[1] or self._hostname
            await self._tls.greet(connection, demand, name, address, encryption)
            if walk.route.login is not None:
                await log_in(connection, walk.route, self._offload, self.states)
        except BaseException:
            connection.close()
            raise
        return connection

    async def connect(self, walk: Walk, host: MailHost, address: str) -> SmtpConnection:
        """To one address of a host, from the right one of ours, and not for long when there is another."""
        source, _ = walk.source_for(address)
        seconds = _HASTY_SECONDS if walk.has_another else CONNECT_SECONDS
        try:
            connection = await SmtpConnection.connect(host.name, address, host.port, source=source, seconds=seconds)
        except NoConnection as trouble:
            self.reach.failed(address, host.port, timed_out=trouble.timed_out)
            blocked = self.reach.port_25_trouble() if trouble.timed_out and not host.trusted else ""
            if not blocked:
                raise
            raise NoConnection(f"{trouble.public_text}; {blocked}", timed_out=True) from trouble
        self.reach.connected(address, host.port)
        return connection


def _total_seconds(size_bytes: int) -> float:
    return min(_TOTAL_SECONDS + size_bytes / _TOTAL_BYTES_PER_SECOND, max(_MOST_SECONDS, _TOTAL_SECONDS))


def _unreadable(error: OSError, path: str) -> Verdict:
    """A file that is gone stays away, whatever else ails a disk may pass."""
    if is_lost(error, path):
        return Verdict(Fate.QUARANTINED, 451, "4.3.0", "the message's file is lost or damaged")
    return Verdict(Fate.DEFERRED, 451, "4.3.0", "the message's file cannot be read now")
