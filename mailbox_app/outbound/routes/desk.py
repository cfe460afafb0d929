"""What an operator asks about the ways out: which one an address takes and why, and whether a way works now.

A trial does everything up to the message: it finds hosts and addresses, connects, greets, encrypts and logs in as a delivery
would, and says goodbye. It sends no mail, takes no part in breakers and asks each host once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from mailbox_app.clock import Clock
from mailbox_app.errors import MailboxError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import (
    Envelope,
    Lease,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
)
from mailbox_app.outbound.next_hop import MailHost, Unroutable
from mailbox_app.outbound.routes.choosing import Choice, Route
from mailbox_app.outbound.routes.sources import FamilyState
from mailbox_app.outbound.routes.states import RouteState
from mailbox_app.outbound.smtp_client import HostTrouble
from mailbox_app.outbound.tls.policy import Demand, Proof
from mailbox_app.outbound.transport import SmtpTransport
from mailbox_app.outbound.walk import Walk

_TRIAL_SECONDS = 90.0
_HOST_SECONDS = 20.0
_SHOWN_EXTENSIONS = 30


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route, the rules that lead to it, how it did since the start."""

    route: Route
    rules: Sequence[str]
    is_usual: bool
    """It takes what no rule names."""
    state: RouteState


@dataclass(frozen=True, slots=True)
class HostFinding:
    """One host of a way. `trouble` is "" when there are addresses to go to."""

    host: MailHost
    addresses: Sequence[str]
    unreachable: Sequence[str]
    """Those of the addresses where nothing answered lately."""
    encryption: str = ""
    """What it must show before it gets mail, and whose wish that is."""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The way of mail for one address."""

    choice: Choice
    families: Sequence[FamilyState]
    hosts: Sequence[HostFinding]
    trouble: str = ""
    """Why there is no host at all."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trial."""

    what: str
    ok: bool
    text: str


@dataclass(slots=True)
class Trial:
    """What a trial found; `ok` when some host would have taken a message."""

    route: str
    domain: str
    ok: bool = False
    steps: list[Step] = field(default_factory=list)

    def add(self, what: str, text: str, *, ok: bool = True) -> None:
        """One more step."""
        self.steps.append(Step(what, ok, text))


class RouteDesk:
    """Answers for the running transport."""

    def __init__(self, transport: SmtpTransport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock

    def rows(self) -> Sequence[RouteRow]:
        """All routes by name."""
        table = self._transport.routes
        usual = table.usual().route.name
        return [
            RouteRow(
                route,
                table.rules_of(route.name),
                route.name == usual,
                self._transport.states.state(route.name),
            )
            for route in table.all()
        ]

    def trouble(self) -> str:
        """What keeps mail from leaving at all, in one sentence, else ""."""
        return self._transport.reach.port_25_trouble()

    async def explain(self, recipient: str, sender: str = "", chosen: str = "") -> Explanation:
        """The way of mail from `sender` to `recipient`; `Unroutable` for a route that does not exist."""
        choice = self._transport.routes.choose(sender, recipient, chosen)
        families = await self._transport.families.decide(choice.route)
        domain = recipient.rpartition("@")[2].lower()
        try:
            hosts = await self._hosts(choice.route, domain)
        except Unroutable as error:
            return Explanation(choice, families, (), error.public_text)
        walk = self._walk(choice.route, families, domain)
        return Explanation(choice, families, [await self._finding(host, walk) for host in hosts])

    async def test(self, name: str) -> Trial:
        """Try a route by its name, or the way to a domain."""
        route = self._transport.routes.find(name)
        domain = ""
        if route is None or not route.hosts:
            domain = name.rpartition("@")[2].lower()
            if route is not None or ("." not in domain and not domain.startswith("[")):
                text = (
                    f"{name} has no hosts of its own: tell a domain to try the way to it"
                    if route
                    else (f"there is no route {name}, and it is no domain")
                )
                raise MailboxError("route.unknown", text, temporary=False)
            route = self._transport.routes.choose("", f"postmaster@{domain}").route
        trial = Trial(route.name, domain)
        try:
            async with asyncio.timeout(_TRIAL_SECONDS):
                await self._try(trial, route)
        except TimeoutError:
            trial.add("time", f"broken off after {_TRIAL_SECONDS:.0f} s", ok=False)
        if trouble := self.trouble():
            trial.add("network", trouble, ok=False)
        return trial

    async def _try(self, trial: Trial, route: Route) -> None:
        families = await self._transport.families.decide(route)
        for state in families:
            trial.add("family", f"IPv{state.family} is {'' if state.used else 'not '}used: {state.reason}")
        try:
            hosts = await self._hosts(route, trial.domain)
        except Unroutable as error:
            trial.add("hosts", error.public_text, ok=False)
            return
        trial.add("hosts", ", ".join(f"{host.name} port {host.port}" for host in hosts))
        for host in hosts:
            finding = await self._finding(host, self._walk(route, families, trial.domain or host.name))
            if finding.trouble:
                trial.add("addresses", finding.trouble, ok=False)
                continue
            trial.add("demand", f"{host.name}: {finding.encryption}")
            for address in finding.addresses:
                await self._one(trial, route, families, host, address)

    async def _one(
        self, trial: Trial, route: Route, families: Sequence[FamilyState], host: MailHost, address: str
    ) -> None:
        walk = self._walk(route, families, trial.domain or host.name)
        where = f"{host.name} [{address}]"
        try:
            async with asyncio.timeout(_HOST_SECONDS):
                connection = await self._transport.open(walk, host, address)
        except HostTrouble as trouble:
            trial.add("trouble", trouble.public_text, ok=False)
        except TimeoutError:
            trial.add("trouble", f"{where} did not get that far within {_HOST_SECONDS:.0f} s", ok=False)
        else:
            connection.leave()
            source = walk.source_for(address)[0]
            trial.add("connect", f"{where} port {host.port}" + (f" from {source}" if source else ""))
            trial.add("encryption", connection.tls or "none")
            if route.login is not None:
                trial.add("login", f"{route.login.user} by {connection.login}")
            extensions = sorted(connection.extensions)[:_SHOWN_EXTENSIONS]
            trial.add("greeting", f"{where} offers {' '.join(extensions) or 'nothing more than SMTP'}")
            trial.ok = True

    async def _hosts(self, route: Route, domain: str) -> Sequence[MailHost]:
        return route.hosts or await self._transport.hops.hosts(domain)

    async def _finding(self, host: MailHost, walk: Walk) -> HostFinding:
        reach = self._transport.reach
        try:
            addresses = reach.ordered(await self._transport.hops.addresses(host, walk.families))
            demand = await self._transport.demand(walk, host)
        except (Unroutable, HostTrouble) as error:
            return HostFinding(host, (), (), trouble=error.public_text)
        dead = [one for one in addresses if reach.is_dead(one)]
        return HostFinding(host, addresses, dead, _in_words(demand, walk.route))

    def _walk(self, route: Route, families: Sequence[FamilyState], domain: str) -> Walk:
        """A delivery of a message that does not exist: it gets as far as the greeting."""
        now = self._clock.now()
        recipient = QueuedRecipient(
            QueueId("trial"), f"postmaster@{domain}", "smtp", domain, RecipientState.ACTIVE, 0, now, 0, "", "", "", ""
        )
        message = QueuedMessage(QueueId("trial"), Envelope(""), 0, now, now + timedelta(hours=1), [recipient])
        walk = Walk(Lease("trial", message, "", now + timedelta(hours=1)), [recipient], route)
        walk.families = families
        return walk


def _in_words(demand: Demand, route: Route) -> str:
    if route.encryption == "none":
        return f"never encrypted, as the route {route.name} says"
    wanted = {
        Proof.NOTHING: "encrypted if the host offers it",
        Proof.ENCRYPTED: "encrypted",
        Proof.CERTIFICATE: "encrypted, with a valid certificate for its name",
        Proof.DANE: "encrypted, with a key that its DNS vouches for",
    }[demand.proof]
    return f"{wanted}, because of {demand.because}" if demand.because else wanted
