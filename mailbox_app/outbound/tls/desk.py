"""What an administrator asks about encryption on the way out: what binds a domain now and why, and which domains are excepted.

Answers come from the same rules that deliveries follow, but nobody is told of them: a look is no session, and is in no report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.outbound.next_hop import MailHost, Unroutable
from mailbox_app.outbound.smtp_client import HostTrouble
from mailbox_app.outbound.tls.dnssec import Dnssec
from mailbox_app.outbound.tls.memory import TlsException
from mailbox_app.outbound.tls.out import OutboundTls
from mailbox_app.outbound.tls.policy import Demand, Proof, Rules
from mailbox_app.outbound.transport import SmtpTransport


@dataclass(frozen=True, slots=True)
class HostLook:
    """What one host must show."""

    host: str
    sentence: str
    is_usable: bool = True
    """False: a policy keeps mail from it."""
    tlsa: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DomainLook:
    """What binds one domain."""

    rules: Rules
    hosts: Sequence[HostLook] = field(default_factory=tuple)
    trouble: str = ""
    """Why there are no hosts."""


class TlsDesk:
    """Answers for the running transport."""

    def __init__(
        self, tls: OutboundTls, transport: SmtpTransport, dnssec: Dnssec, offload: Offload, clock: Clock
    ) -> None:
        self._tls = tls
        self._transport = transport
        self.dnssec = dnssec
        self._offload = offload
        self._clock = clock

    async def dane(self) -> str:
        """Whether DANE is used, in one sentence."""
        if self.dnssec.works is None:
            await self.dnssec.look()
        return self.dnssec.sentence

    async def look(self, domain: str) -> DomainLook:
        """What binds mail to a domain now; policies are fetched as for a message."""
        try:
            route = self._transport.routes.choose("", f"postmaster@{domain}").route
            rules = await self._tls.looking.of_domain(domain, Envelope(""), named=bool(route.hosts))
            try:
                hosts = route.hosts or await self._transport.hops.hosts(domain)
            except Unroutable as error:
                return DomainLook(rules, (), error.public_text)
            return DomainLook(rules, [await self._look_at(rules, host, named=bool(route.hosts)) for host in hosts])
        except HostTrouble as trouble:
            raise MailboxError("tls.unreadable", trouble.public_text, temporary=True) from trouble

    async def exceptions(self) -> Sequence[TlsException]:
        """All, also those that are over, by domain."""
        return await self._offload.run(self._tls.memory.exceptions)

    async def except_domain(
        self, domain: str, seconds: float, reason: str, *, allows_clear: bool
    ) -> tuple[TlsException | None, TlsException]:
        """(the exception before, the one from now on)."""
        before = (await self._offload.run(self._tls.memory.load, domain)).exception
        now = self._clock.epoch_seconds()
        row = TlsException(domain, now + seconds, now, allows_clear, reason)
        await self._offload.run(self._tls.memory.put_exception, row)
        return before, row

    async def end_exception(self, domain: str) -> TlsException:
        """The exception that was; `tls.unknown` when there was none."""
        removed = await self._offload.run(self._tls.memory.remove_exception, domain)
        if removed is None:
            raise MailboxError("tls.unknown", f"{domain} has no exception")
        return removed

    async def _look_at(self, rules: Rules, host: MailHost, *, named: bool) -> HostLook:
        try:
            if named:
                rules = await self._tls.looking.of_domain(host.name, Envelope(""), named=True)
            demand = await self._tls.looking.of_host(rules, host)
        except HostTrouble as trouble:
            return HostLook(host.name, f"It gets no mail now: {trouble.public_text}.", is_usable=False)
        tlsa = demand.dane.published if demand.dane is not None else ()
        return HostLook(host.name, _sentence(demand), tlsa=tlsa)


def _sentence(demand: Demand) -> str:
    if demand.proof is Proof.DANE:
        return f"It must show a key that its DNS vouches for ({demand.because})."
    if demand.proof is Proof.CERTIFICATE:
        return f"It must encrypt with a valid certificate for its name ({demand.because})."
    if demand.proof is Proof.ENCRYPTED:
        return f"It must encrypt; none of its TLSA records can be used ({demand.because})."
    if demand.mismatch:
        return f"It is used, but {demand.mismatch}."
    if demand.tested:
        return f"It is only watched whether it encrypts with a valid certificate ({demand.tested})."
    return "Encryption is used if it offers it, whoever signed its certificate."
