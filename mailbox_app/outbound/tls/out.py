"""Encryption on the way out as the transport sees it: rules of a domain, the demand on a host, a greeting that ends as demanded.

One per process that delivers, made by the wiring with the file of what is remembered and the listeners that want to know.
`configure` takes a changed configuration; what is under way goes on with the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mailbox_app.clock import Clock
from mailbox_app.config.load import seconds
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.net.resolver import Resolver
from mailbox_app.outbound.next_hop import MailHost
from mailbox_app.outbound.routes.choosing import Encryption as Encrypting
from mailbox_app.outbound.routes.choosing import Route
from mailbox_app.outbound.smtp_client import SmtpConnection, TlsTrouble
from mailbox_app.outbound.tls.encryption import Encryption, client_context
from mailbox_app.outbound.tls.levels import TlsLevels
from mailbox_app.outbound.tls.memory import TlsMemory
from mailbox_app.outbound.tls.mta_sts import StsPolicies
from mailbox_app.outbound.tls.policy import Demand, Proof, Rules, TlsPolicies, unsafe
from mailbox_app.outbound.tls.witness import TlsWitness, Witnesses


class OutboundTls:
    """`memory` is closed by whoever made it."""

    def __init__(
        self,
        resolver: Resolver,
        memory: TlsMemory,
        *,
        config: Delivery,
        offload: Offload,
        clock: Clock,
        witnesses: Sequence[TlsWitness] = (),
    ) -> None:
        self._resolver = resolver
        self.memory = memory
        self._offload = offload
        self._clock = clock
        self._witnesses = Witnesses(witnesses)
        self._config: Delivery | None = None
        self.configure(config)

    def configure(self, config: Delivery) -> None:
        """Take a changed configuration; `OSError` for a ca_file that cannot be read changes nothing."""
        if config == self._config:
            return
        proving = client_context(
            config.ca_file, prove=True
        )  # one for both: the system's authorities take most of a MiB each time
        sts = StsPolicies(
            self._resolver,
            self.memory,
            self._offload,
            self._clock,
            context=proving,
            port=config.mta_sts_port,
            allow_private_addresses=config.allow_private_addresses,
        )
        levels = TlsLevels(
            self.memory,
            self._offload,
            self._clock,
            hold_seconds=seconds(config.tls_downgrade_hold),
            plain_after_seconds=seconds(config.plain_after_tls_failure),
        )
        encryption = Encryption(levels, self._witnesses, self._clock, proving, config.ca_file)
        self.sts, self._encryption = sts, encryption
        self.policies, self.looking = (
            TlsPolicies(
                self._resolver, sts, self.memory, self._offload, self._clock, told, require_tls=config.require_tls
            )
            for told in (self._witnesses, Witnesses())
        )
        self._config = config

    async def rules(self, domain: str, envelope: Envelope, *, named: bool = False, verify: str = "") -> Rules:
        """What binds mail to a domain. `named`: the operator chose its hosts; `verify`: who wants them to prove themselves."""
        return await self.policies.of_domain(domain, envelope, named=named, verify=verify)

    async def demand(self, rules: Rules, host: MailHost, route: Route) -> Demand:
        """What a host must show; `HostTrouble` when it gets no mail of this domain at all."""
        demand = await self.policies.of_host(rules, host)
        if route.encryption == "none":
            if rules.requires:
                raise unsafe(host.name, f"is reached by the route {route.name}, which never encrypts")
            return replace(demand, proof=Proof.NOTHING, guards_level=False)
        if route.encryption in ("starttls", "tls") and demand.proof is Proof.NOTHING:
            return replace(demand, proof=Proof.ENCRYPTED, because=f"the route {route.name}")
        return demand

    async def greet(
        self, connection: SmtpConnection, demand: Demand, hostname: str, address: str, encryption: Encrypting
    ) -> None:
        """Greeting and TLS; "tls": TLS comes first (RFC 8314 3.3); "none": never. `HostTrouble`: the host is of no use."""
        if encryption == "tls":
            await self._encryption.wrap(connection, demand, address)
        await connection.greet(hostname)
        if encryption == "tls":
            self._encryption.check_extension(connection, demand)
        elif encryption != "none":
            await self._encryption.secure(connection, demand, hostname, address)

    async def wants_clear(self, demand: Demand, trouble: TlsTrouble) -> bool:
        """TLS failed: whether the message may go in clear over a new connection."""
        return await self._encryption.wants_clear(demand, trouble)
