"""Delivers one lease to the hosts of its domain. The queue's only view of SMTP.

Hosts are tried in order until each recipient has a verdict. What is left then is deferred with the last host's trouble;
it fails only when every host said by itself that it takes no mail (5xx in the greeting). The whole walk ends within
`_TOTAL_SECONDS`, which is less than a lease lasts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import datetime

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.breaker_store import MemoryBreakerStore
from mailbox_app.mailqueue.breakers import Breakers, Refusal
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueuedRecipient
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.next_hop import MailHost, NextHops, Unroutable
from mailbox_app.outbound.passages import Passages, Visit
from mailbox_app.outbound.pool import Pool
from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection
from mailbox_app.outbound.transaction import Transaction, Verdict

_TOTAL_SECONDS = 900.0


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
        passages: Passages | None = None,
    ) -> None:
        self._hops = NextHops(
            resolver,
            hostname=hostname,
            port=config.port,
            smarthost=config.smarthost,
            allow_private_addresses=config.allow_private_addresses,
        )
        self._hostname = hostname
        self._require_tls = config.require_tls
        self._tls = _client_context(config, prove=config.require_tls)
        self._proving_tls = _client_context(config, prove=True)
        self._pool = Pool()
        self._passages = passages or Passages(
            Breakers(MemoryBreakerStore(), offload, clock, Metrics()), None, offload, clock
        )
        self._offload = offload
        self._clock = clock
        self._log = structlog.get_logger("outbound")

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient."""
        walk = _Walk(lease, self._clock.monotonic_seconds())
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                await self._walk(walk)
        except Unroutable as error:
            walk.last = Verdict(error.fate, error.smtp_code, error.enhanced, error.public_text)
        except TimeoutError:
            walk.last = Verdict(Fate.DEFERRED, 451, "4.4.7", "the delivery took too long and was broken off")
        except OSError as error:
            self._log.error("spool file unreadable", queue_id=lease.message.queue_id, error=str(error))
            walk.last = Verdict(Fate.DEFERRED, 451, "4.3.0", "the message's file cannot be read now")
        return walk.outcomes(self._clock.monotonic_seconds())

    def close(self) -> None:
        """Leave the hosts that still have a connection."""
        self._pool.close()

    async def _walk(self, walk: _Walk) -> None:
        """Host after host, address after address, until every recipient has its verdict."""
        for host in await self._hops.hosts(walk.lease.message.recipients[0].destination):
            visit = await self._passages.enter(walk.lease, host)
            if isinstance(visit, Refusal):
                walk.refusals.append(visit)
                continue
            try:
                await self._visit(walk, host, visit)
            finally:
                await visit.end()
            if not walk.waiting():
                return
        if walk.refusals:
            await self._pass_over(walk)

    async def _visit(self, walk: _Walk, host: MailHost, visit: Visit) -> None:
        """Address after address of one host."""
        try:
            addresses = await self._hops.addresses(host)
        except Unroutable as error:
            walk.note(Verdict(error.fate, error.smtp_code, error.enhanced, error.public_text))
            return
        for address in addresses:
            walk.host = walk.tls = ""
            try:
                await self._try(walk, host, address, visit)
            except HostTrouble as trouble:
                visit.note(trouble)
                fate = Fate.DEFERRED if trouble.temporary else Fate.FAILED
                walk.note(Verdict(fate, trouble.smtp_code, trouble.enhanced, trouble.public_text))
            if not walk.waiting():
                return

    async def _pass_over(self, walk: _Walk) -> None:
        """Some or all hosts were not tried: nothing fails for good before they are."""
        if walk.last is None:
            walk.retry_at, sentence = await self._passages.put_off(walk.lease, walk.refusals, for_all=not walk.by_route)
            walk.last = Verdict(Fate.POSTPONED, 451, "4.4.1", sentence)
        elif walk.last.fate is not Fate.DEFERRED:
            walk.last = Verdict(Fate.DEFERRED, 451, "4.4.1", walk.refusals[0].sentence)

    async def _try(self, walk: _Walk, host: MailHost, address: str, visit: Visit) -> None:
        """What one address makes of the recipients that have no verdict yet."""
        place = (host.name, address, host.port, walk.needs_proof)
        connection = await self._pool.take(place) or await self._open(walk, host, address)
        visit.greeted()
        walk.host, walk.tls = f"{host.name} [{address}]", connection.tls
        transaction = Transaction(connection, walk.lease, self._offload)
        try:
            await transaction.run(walk.waiting())
        except BaseException:
            connection.close()
            raise
        finally:
            walk.take(transaction.verdicts)
        if transaction.in_step:
            self._pool.keep(place, connection)
        else:
            connection.close()

    async def _open(self, walk: _Walk, host: MailHost, address: str) -> SmtpConnection:
        """A fresh connection, greeted and as encrypted as it must be."""
        if walk.needs_proof and not (host.is_proven or host.trusted):  # RFC 8689 4.2.1
            raise _unsafe(host.name, "has a name that DNS does not prove (DNSSEC)")
        connection = await SmtpConnection.connect(host.name, address, host.port)
        walk.host = f"{host.name} [{address}]"
        try:
            await self._greet(connection, needs_proof=walk.needs_proof)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _greet(self, connection: SmtpConnection, *, needs_proof: bool) -> None:
        await connection.greet(self._hostname)
        if "STARTTLS" in connection.extensions:
            await connection.start_tls(self._proving_tls if needs_proof else self._tls, self._hostname)
        elif self._require_tls or needs_proof:
            raise HostTrouble(451, "4.7.10", f"{connection.host} offers no encryption, which is required here")
        if needs_proof and "REQUIRETLS" not in connection.extensions:
            raise _unsafe(connection.host, "does not promise encryption on the rest of the way (REQUIRETLS)")


class _Walk:
    """What is known so far about one lease's recipients."""

    def __init__(self, lease: Lease, started_seconds: float) -> None:
        self.lease = lease
        # RFC 8689 5: a report goes back as well as it can
        self.needs_proof = lease.message.envelope.require_tls and bool(lease.message.envelope.sender)
        self.host = ""
        self.tls = ""
        self.last: Verdict | None = None
        """Why the recipients without a verdict have none."""
        self.refusals: list[Refusal] = []
        """Hosts that were passed over."""
        self.by_route = False
        """Whether the hosts come from a route and not from the destination alone."""
        self.retry_at: datetime | None = None
        """When to look again, when all hosts were passed over."""
        self._started_seconds = started_seconds
        self._settled: dict[str, tuple[Verdict, str, str]] = {}

    def waiting(self) -> list[QueuedRecipient]:
        """Recipients without a verdict."""
        return [one for one in self.lease.message.recipients if one.address not in self._settled]

    def take(self, verdicts: dict[str, Verdict]) -> None:
        """What the present host said about recipients."""
        for address, verdict in verdicts.items():
            self._settled[address] = (verdict, self.host, self.tls)

    def note(self, verdict: Verdict) -> None:
        """Why the present host was of no use; one that may work tomorrow outweighs those that never will."""
        if self.last is None or verdict.fate is Fate.DEFERRED:
            self.last = verdict

    def outcomes(self, now_seconds: float) -> list[Outcome]:
        """One per recipient; those without a verdict get the last trouble."""
        duration = now_seconds - self._started_seconds
        rest = self.last or Verdict(Fate.DEFERRED, 451, "4.4.0", "no host gave an answer")
        return [
            Outcome(
                recipient.address, verdict.fate, verdict.code, verdict.enhanced, verdict.text, host, tls, duration,
                retry_at=self.retry_at if verdict.fate is Fate.POSTPONED else None,
            )
            for recipient in self.lease.message.recipients
            for verdict, host, tls in [self._settled.get(recipient.address, (rest, self.host, self.tls))]
        ]  # fmt: skip


def _unsafe(host: str, why: str) -> HostTrouble:
    """A host that a message with REQUIRETLS must not go to."""
    return HostTrouble(550, "5.7.30", f"{host} {why}, and the sender asks for an encrypted way or none")


def _client_context(config: Delivery, *, prove: bool) -> ssl.SSLContext:
    """Opportunistic: encrypted, whoever it is. `prove`: also the right one, by the system's and our extra trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if prove:
        context.load_default_certs()
        if config.ca_file:
            context.load_verify_locations(config.ca_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
