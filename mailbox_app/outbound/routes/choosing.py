"""Which way a recipient's mail takes: decided anew at each attempt from the configuration of now, never kept with the mail (D5).

What an operator chose for a waiting recipient wins; then the rules, the most telling first: recipient address, recipient domain,
domains above it, sender address, sender domain, domains above it, "*"; then `delivery.smarthost`; then the recipient's own
servers by DNS ("mx"). A rule table is made once per configuration; a decision is a few dictionary look-ups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mailbox_app.config.routes import Route as RouteSection
from mailbox_app.config.routes import Routes as RoutesSection
from mailbox_app.config.routes import parse_host, parse_rule, parse_source
from mailbox_app.config.schema import Delivery
from mailbox_app.mailqueue.model import Fate
from mailbox_app.outbound.next_hop import MailHost, Unroutable, parse_smarthost
from mailbox_app.proto.domain_names import a_labels

MX = "mx"
SMARTHOST = "smarthost"
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_TOP_LABELS = 20
"""Domains above a domain that are looked at; longer names are nobody's rule."""

Encryption = Literal["policy", "starttls", "tls", "none"]
"""policy: what the host, DANE and MTA-STS say; starttls: required; tls: from the first byte; none: never."""


@dataclass(frozen=True, slots=True)
class Source:
    """An address of this machine, and the name it gives in EHLO ("": the server's)."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """What a smarthost wants to know; the password is read from its file when it is needed."""

    user: str
    password_file: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """One way out. Without hosts: the recipient's own."""

    name: str
    hosts: Sequence[MailHost] = ()
    encryption: Encryption = "policy"
    verify: bool = False
    """The host's certificate must be valid and carry its name."""
    login: Login | None = None
    sources: Sequence[Source] = ()
    family: str = "auto"
    concurrency: int = 0
    """Connections at once to one host of it; 0: the usual bound."""
    rate: int = 0
    """Messages in a minute over the whole route; 0: no bound."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision: the route, and the rule it comes from in words."""

    route: Route
    reason: str


class RouteTable:
    """All routes and rules of one configuration."""

    def __init__(self, delivery: Delivery, routes: RoutesSection) -> None:
        sources = _sources(delivery.sources)
        self._routes = {MX: Route(MX, sources=sources, family=delivery.family)}
        if delivery.smarthost:
            hosts = [parse_smarthost(delivery.smarthost)]
            self._routes[SMARTHOST] = Route(SMARTHOST, hosts, sources=sources, family=delivery.family)
        for name, section in routes.via.items():
            self._routes[name] = _route(name, section, sources, delivery.family)
        self._rules = dict(rule for text in routes.rules if (rule := parse_rule(text)) is not None)

    @property
    def depends_on_message(self) -> bool:
        """Whether mail for one domain may take different ways."""
        return any(not pattern.startswith("to:@") and pattern != "*" for pattern in self._rules)

    def all(self) -> Sequence[Route]:
        """Every route by name."""
        return [self._routes[name] for name in sorted(self._routes)]

    def find(self, name: str) -> Route | None:
        """The route of that name."""
        return self._routes.get(name)

    def rules_of(self, name: str) -> Sequence[str]:
        """The rules that lead to a route."""
        return [pattern for pattern, route in self._rules.items() if route == name]

    def choose(self, sender: str, recipient: str, chosen: str = "") -> Choice:
        """The way for one recipient; `chosen` is an operator's word for it. `Unroutable` (deferred) for one that is not there."""
        if chosen:
            return Choice(self._known(chosen, "an operator chose it"), "an operator chose it for this mail")
        if not self._rules:
            return self.usual()
        for pattern in _patterns(sender, recipient):
            if (name := self._rules.get(pattern)) is not None:
                return Choice(self._known(name, f"the rule {pattern} names it"), f"the rule {pattern} -> {name}")
        return self.usual()

    def usual(self) -> Choice:
        """The way of mail that no rule names."""
        if (name := self._rules.get("*")) is not None:
            return Choice(self._known(name, "the rule * names it"), f"the rule * -> {name}")
        if SMARTHOST in self._routes:
            return Choice(self._routes[SMARTHOST], "delivery.smarthost takes what no rule names")
        return Choice(self._routes[MX], "no rule names it: by the recipient's own servers")

    def _known(self, name: str, why: str) -> Route:
        if (route := self._routes.get(name)) is None:
            text = f"there is no route {name} in the configuration, but {why}"
            raise Unroutable(Fate.DEFERRED, 451, "4.3.5", text)
        return route


def _patterns(sender: str, recipient: str) -> Iterator[str]:
    """Everything a rule could say about them, the most telling first."""
    for side, address in (("to", recipient), ("from", sender)):
        local, at, domain = address.lower().rpartition("@")
        if not at:  # the null sender
            continue
        yield f"{side}:{local}@{domain}"
        spelt = [domain]
        if not domain.isascii() and (ascii_form := a_labels(domain)) is not None:
            spelt.append(ascii_form)
        for each in spelt:
            yield f"{side}:@{each}"
        for each in spelt:
            labels = each.split(".")[-_TOP_LABELS:]
            for first in range(1, len(labels)):
                yield f"{side}:@.{'.'.join(labels[first:])}"


def _route(name: str, section: RouteSection, sources: Sequence[Source], family: str) -> Route:
    hosts = [
        MailHost(parsed[0].lower(), parsed[1] or _PORTS[section.tls], trusted=True)
        for text in section.hosts
        if (parsed := parse_host(text)) is not None
    ]
    return Route(
        name,
        hosts,
        section.tls if hosts else "policy",
        section.verify and bool(hosts) and section.tls != "none",
        Login(section.user, section.password_file) if section.user else None,
        _sources(section.sources) or sources,
        section.family or family,
        section.concurrency,
        section.rate,
    )


def _sources(texts: Sequence[str]) -> Sequence[Source]:
    return tuple(Source(*parsed) for text in texts if (parsed := parse_source(text)) is not None)


def grouped(
    table: RouteTable, sender: str, recipients: Sequence[tuple[str, str]]
) -> Mapping[str, tuple[Route | Unroutable, list[int]]]:
    """The recipients, given as (address, operator's route), by the way they take: places in the row by route name."""
    found: dict[str, tuple[Route | Unroutable, list[int]]] = {}
    for place, (address, chosen) in enumerate(recipients):
        way: Route | Unroutable
        try:
            way = table.choose(sender, address, chosen).route
            name = way.name
        except Unroutable as error:
            way, name = error, f"?{error.public_text}"
        found.setdefault(name, (way, []))[1].append(place)
    return found
