"""What encryption a host must show before it gets mail for a domain, and which policy says so: a `Demand` for each host.

In this order, the first that applies: REQUIRETLS of the message (RFC 8689); DANE of the host (RFC 7672); MTA-STS of the domain
(RFC 8461); `delivery.require_tls` or a route that wants proof; else encryption is used when it is offered. DANE goes before
MTA-STS: where a host has TLSA records, those alone decide (RFC 8461 2). An administrator's exception and the message's own
`TLS-Required: No` (RFC 8689 5) set DANE and MTA-STS aside. What keeps a host from being used is `HostTrouble` whose text names
the policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.net.resolver import Resolver
from mailbox_app.outbound.next_hop import MailHost
from mailbox_app.outbound.smtp_client import HostTrouble
from mailbox_app.outbound.tls import dane
from mailbox_app.outbound.tls.memory import DomainLevel, Remembered, TlsException, TlsMemory
from mailbox_app.outbound.tls.mta_sts import StsFinding, StsPolicies
from mailbox_app.outbound.tls.witness import PolicyType, TlsResult, TlsSession, Witnesses
from mailbox_app.proto.mta_sts_policy import StsMode


class Proof(IntEnum):
    """What a host must show."""

    NOTHING = 0
    """Encryption is used when offered, whoever signed."""
    ENCRYPTED = 1
    """Encryption, whoever signed."""
    CERTIFICATE = 2
    """A valid certificate for its name."""
    DANE = 3
    """One of the keys that its DNS vouches for."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What binds mail to one domain, before its hosts are known."""

    domain: str
    sts: StsFinding
    remembered: Remembered
    exception: TlsException | None = None
    """One in force."""
    requires: bool = False
    """REQUIRETLS."""
    optional: bool = False
    """`TLS-Required: No`."""
    verify: str = ""
    """Who besides wants proof: `delivery.require_tls`, a route; "": nobody."""

    @property
    def excepted(self) -> bool:
        """Whether DANE and MTA-STS do not hold this message up."""
        return not self.requires and (self.optional or self.exception is not None)


@dataclass(frozen=True, slots=True)
class Demand:
    """What one host must show."""

    domain: str
    proof: Proof
    because: str
    """Whose wish it is, as a part of a sentence."""
    server_name: str
    """Said in the handshake, and borne by a valid certificate."""
    policy_type: PolicyType = PolicyType.NONE
    policy: Sequence[str] = ()
    dane: dane.DaneFinding | None = None
    tested: str = ""
    """A policy that only wants to know (MTA-STS testing); "": none."""
    mismatch: str = ""
    """In testing: the policy does not name this host."""
    needs_extension: bool = False
    """REQUIRETLS must be offered."""
    clear_after_failure: bool = False
    """When encryption fails, the message may go in clear."""
    guards_level: bool = True
    """A domain that used to encrypt and offers it no more has to wait."""
    level: DomainLevel = field(default_factory=lambda: DomainLevel(""))

    def places(self) -> Sequence[str]:
        """The kinds of kept connections that have shown enough for this, the best first."""
        if self.proof is Proof.NOTHING:
            return (_ENCRYPTED, self._clear)
        if self.proof is Proof.ENCRYPTED:
            return (_ENCRYPTED,)
        return (self._proven,)

    def place(self, tls: str) -> str:
        """The kind of a connection made for this: what it has shown, so that mail which needs more never takes it."""
        if self.proof is Proof.NOTHING:
            return _ENCRYPTED if tls else self._clear
        return _ENCRYPTED if self.proof is Proof.ENCRYPTED else self._proven

    @property
    def _clear(self) -> str:
        return f"clear:{self.domain}:{'guarded' if self.guards_level else 'excepted'}"

    @property
    def _proven(self) -> str:
        records = "|".join(map(str, self.dane.records)) if self.dane is not None and self.proof is Proof.DANE else ""
        digest = hashlib.sha256(f"{self.server_name}|{records}".encode()).hexdigest()
        return f"{self.proof.name.lower()}:{digest}:{int(self.needs_extension)}"


_ENCRYPTED = "encrypted"


class TlsPolicies:
    """Makes demands."""

    def __init__(
        self,
        resolver: Resolver,
        sts: StsPolicies,
        memory: TlsMemory,
        offload: Offload,
        clock: Clock,
        witnesses: Witnesses,
        *,
        require_tls: bool = False,
    ) -> None:
        self._resolver = resolver
        self._sts = sts
        self._memory = memory
        self._offload = offload
        self._clock = clock
        self._witnesses = witnesses
        self._require_tls = require_tls

    async def of_domain(
        self, domain: str, envelope: Envelope | None = None, *, named: bool = False, verify: str = ""
    ) -> Rules:
        """The rules for a domain's mail. `named`: its hosts are the operator's, so the domain's own policy does not bind."""
        requires = envelope is not None and envelope.require_tls and bool(envelope.sender)
        remembered = self._memory.kept(domain)
        if remembered is None:
            try:
                remembered = await self._offload.run(self._memory.load, domain)
            except MailboxError as error:  # not knowing what was excepted or seen is no reason to send in clear
                text = f"what is known of {domain}'s encryption cannot be read now"
                raise HostTrouble(451, "4.3.0", text) from error
        exception = remembered.exception
        if exception is not None and exception.until_seconds <= self._clock.epoch_seconds():
            exception = None
        finding = StsFinding(None)
        if not named and "." in domain and not domain.startswith("["):
            finding = await self._sts.find(domain, remembered)
            if finding.trouble is not None and finding.trouble_is_new:
                self._witnesses.saw(
                    TlsSession(domain, PolicyType.STS, (), "", "", finding.trouble.result, finding.trouble.text)
                )
        # RFC 8689 4.1: REQUIRETLS wins over the field
        optional = envelope is not None and envelope.tls_optional and not envelope.require_tls
        verify = verify or ("delivery.require_tls" if self._require_tls else "")
        return Rules(domain, finding, remembered, exception, requires, optional, verify)

    async def of_host(self, rules: Rules, host: MailHost) -> Demand:
        """What this host must show; `HostTrouble` when it must not be used at all."""
        found = await self._dane(rules, host)
        names_host = rules.sts.policy is not None and rules.sts.policy.names(host.name)
        base = Demand(rules.domain, Proof.NOTHING, "", host.name, level=rules.remembered.level)
        if found is not None:
            base = replace(
                base, policy_type=PolicyType.TLSA, policy=found.published, dane=found, server_name=found.base
            )
        elif rules.sts.policy is not None:
            base = replace(base, policy_type=PolicyType.STS, policy=rules.sts.policy.lines())
        if rules.requires:
            return self._required(rules, host, base, names_host=names_host)
        if rules.excepted and not rules.verify:
            allows = rules.optional or (rules.exception is not None and rules.exception.allows_clear)
            return replace(base, dane=None, server_name=host.name, clear_after_failure=allows, guards_level=False)
        if found is not None and not rules.excepted and (found.records or not rules.verify):
            return self._by_dane(found, host, base)
        if found is None and rules.sts.policy is not None and not rules.excepted:
            return self._by_sts(rules, host, base, names_host=names_host)
        if rules.verify:
            return replace(base, proof=Proof.CERTIFICATE, because=rules.verify, server_name=host.name)
        return base

    async def _dane(self, rules: Rules, host: MailHost) -> dane.DaneFinding | None:
        try:
            return await dane.look_up(self._resolver, host, rules.domain)
        except dane.DaneTrouble as error:
            if rules.excepted:
                return None
            self._saw_before(rules, host, PolicyType.TLSA, TlsResult.DNSSEC_INVALID, error.public_text)
            raise HostTrouble(451, "4.7.5", error.public_text) from error

    def _required(self, rules: Rules, host: MailHost, base: Demand, *, names_host: bool) -> Demand:
        """RFC 8689 4.2.1: the host's name by DNSSEC or MTA-STS, its certificate by DANE or a known authority."""
        if not (host.is_proven or host.trusted or (names_host and rules.sts.policy is not None)):
            text = "has a name that neither DNS (DNSSEC) nor MTA-STS proves"
            raise unsafe(host.name, text)
        because = "REQUIRETLS of this message"
        if base.dane is not None and base.dane.records:
            return replace(base, proof=Proof.DANE, because=because, needs_extension=True)
        return replace(base, proof=Proof.CERTIFICATE, because=because, needs_extension=True, server_name=host.name)

    def _by_dane(self, found: dane.DaneFinding, host: MailHost, base: Demand) -> Demand:
        proof = Proof.DANE if found.records else Proof.ENCRYPTED  # RFC 7672 2.2: unusable ones still mean encryption
        return replace(base, proof=proof, because=f"DANE of {host.name}")

    def _by_sts(self, rules: Rules, host: MailHost, base: Demand, *, names_host: bool) -> Demand:
        policy = rules.sts.policy
        assert policy is not None
        mode = f"MTA-STS of {rules.domain} ({policy.mode})"
        if policy.mode is StsMode.ENFORCE:
            if not names_host:
                text = f"{mode} names other hosts than {host.name}, so it gets no mail"
                self._saw_before(rules, host, PolicyType.STS, TlsResult.VALIDATION_FAILURE, text)
                raise HostTrouble(451, "4.7.5", text)
            return replace(base, proof=Proof.CERTIFICATE, because=mode)
        mismatch = "" if names_host else f"{mode} names other hosts than {host.name}"
        proof = Proof.CERTIFICATE if rules.verify else Proof.NOTHING
        return replace(base, proof=proof, because=rules.verify, tested=mode, mismatch=mismatch)

    def _saw_before(self, rules: Rules, host: MailHost, kind: PolicyType, result: TlsResult, text: str) -> None:
        lines = rules.sts.policy.lines() if kind is PolicyType.STS and rules.sts.policy is not None else ()
        self._witnesses.saw(TlsSession(rules.domain, kind, lines, host.name, "", result, text, enforced=True))


def unsafe(host: str, why: str) -> HostTrouble:
    """A host that a message with REQUIRETLS must not go to."""
    return HostTrouble(550, "5.7.30", f"{host} {why}, and the sender asks for an encrypted way or none")
