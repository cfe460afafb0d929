"""The section about the ways on which mail leaves; `schema.py` puts it into the whole."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, field

from mailbox_app.config.section import Section

RouteName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Family = Literal["auto", "4", "6", "prefer4", "prefer6"]
RESERVED = ("mx", "smarthost")
"""Routes that are always there: by DNS, and `delivery.smarthost`."""

_RULE = re.compile(r"(?P<pattern>\*|(?P<side>to|from):(?P<local>[^@\s]*)@(?P<domain>\.?[^@\s]+))\s*->\s*(?P<route>\S+)")
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(?::(\d{1,5}))?$")


class Route(Section, frozen=True):
    """One named way out."""

    hosts: list[str] = field(default_factory=list)
    """ "host" or "host:port", tried in order; []: the recipient's own servers, found by DNS."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    verify: bool = True
    user: str = ""
    password_file: str = ""
    sources: list[str] = field(default_factory=list)
    family: Literal["", "auto", "4", "6", "prefer4", "prefer6"] = ""
    concurrency: Annotated[int, Meta(ge=0, le=1000)] = 0
    rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Routes(Section, frozen=True):
    """The ways on which mail leaves, see docs/routes.md. Without any, it goes to `delivery.smarthost`, or by MX."""

    rules: list[str] = field(default_factory=list)
    """Which mail takes which route: "to:@example.org -> relay", "from:@ours.example -> relay2", "* -> mx". The most telling rule
    wins: recipients before senders, an address before its domain, a domain before those above it (@.example.org), "*" last."""
    via: dict[RouteName, Route] = field(default_factory=dict)
    """The routes by name, each a table [routes.via.NAME] with hosts, tls ("starttls", "tls", "none"), verify, user, password_file,
    sources, family, concurrency (connections at once to one host) and rate (messages in a minute)."""


def parse_rule(text: str) -> tuple[str, str] | None:
    """("to:@example.org", "relay") of one rule, in lower case; None when it is none."""
    found = _RULE.fullmatch(text.strip())
    return (found["pattern"].lower(), found["route"]) if found else None


def parse_host(text: str) -> tuple[str, int] | None:
    """(name or address, port or 0); None when it is neither "host" nor "host:port"."""
    found = _HOST.match(text)
    if found is None or int(found[2] or 0) > 65535:
        return None
    return found[1].strip("[]"), int(found[2] or 0)


def parse_source(text: str) -> tuple[str, str] | None:
    """(address, EHLO name or "") of "192.0.2.1" or "192.0.2.1 mail2.example.org"; None when it is neither."""
    address, _, name = text.strip().partition(" ")
    try:
        return str(ipaddress.ip_address(address)), name.strip()
    except ValueError:
        return None


def mistakes(routes: Routes, sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(key, reason) of what types cannot say; `sources` are those of the delivery section."""
    for number, text in enumerate(routes.rules):
        rule = parse_rule(text)
        if rule is None:
            wanted = '"to:@domain -> route", "from:@domain -> route" or "* -> route"'
            yield f"routes.rules[{number}]", f"want {wanted}, not {text!r}"
        elif rule[1] not in routes.via and rule[1] not in RESERVED:
            yield f"routes.rules[{number}]", f"there is no route {rule[1]}; it would be [routes.via.{rule[1]}]"
    yield from _source_mistakes("delivery.sources", sources)
    for name, route in routes.via.items():
        yield from _route_mistakes(f"routes.via.{name}", name, route)


def _route_mistakes(key: str, name: str, route: Route) -> Iterator[tuple[str, str]]:
    if name in RESERVED:
        yield key, f"{name} is always there and cannot be given another meaning; take another name"
    for text in route.hosts:
        if parse_host(text) is None:
            yield f"{key}.hosts", f'want "host" or "host:port", not {text!r}'
    if bool(route.user) != bool(route.password_file):
        yield f"{key}.user", "user and password_file go together"
    if route.user and not route.hosts:
        yield f"{key}.user", "a login needs hosts; other people's servers know none"
    if route.user and route.tls == "none":
        yield f"{key}.tls", "a password is never sent in clear; use starttls or tls"
    yield from _source_mistakes(f"{key}.sources", route.sources)


def _source_mistakes(key: str, sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in sources:
        if parse_source(text) is None:
            yield key, f'want "address" or "address name", not {text!r}'
