"""Methods `route.*`: the ways out, which one an address takes and why, and whether one works now."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, NoParams, Params
from mailbox_app.outbound.routes.desk import RouteRow
from mailbox_app.proto.plain_text import clean

Text = Annotated[str, Meta(min_length=1, max_length=320)]


class Way(Params):
    """Whose mail."""

    address: Text
    """The recipient, or a domain alone."""
    sender: Annotated[str, Meta(max_length=320)] = ""
    route: Annotated[str, Meta(max_length=64)] = ""
    """As if an operator had chosen this route for it."""


class RouteName(Params):
    """A route, or a domain to try the way to."""

    name: Text


class RouteView(Struct):
    """One route since the start of the daemon."""

    name: str
    hosts: list[str]
    """Empty: the recipient's own servers."""
    encryption: str
    """policy (what the host's domain asks for), starttls, tls, none."""
    verify: bool
    user: str
    family: str
    rules: list[str]
    usual: bool
    """It takes what no rule names."""
    used: int
    failed: int
    refused_logins: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_failure: str


class RouteList(Struct):
    """All routes; `trouble` tells what keeps mail from leaving at all."""

    routes: list[RouteView]
    trouble: str


class FamilyView(Struct):
    """Whether IPv4 or IPv6 is used for it."""

    family: int
    used: bool
    source: str
    """Our address; empty: the system chooses."""
    confirmed: bool | None
    """Whether the reverse name leads back to the address; null: unknown."""
    reason: str


class HostView(Struct):
    """One host to try."""

    name: str
    port: int
    proven: bool
    """Its name is signed (DNSSEC) or the operator's."""
    addresses: list[str]
    unreachable: list[str]
    encryption: str
    """What it must show before it gets mail, in words."""
    trouble: str


class Explanation(Struct):
    """The way of mail for an address."""

    route: str
    reason: str
    encryption: str
    families: list[FamilyView]
    hosts: list[HostView]
    trouble: str


class StepView(Struct):
    """One step of a trial."""

    what: str
    ok: bool
    text: str


class TrialView(Struct):
    """A trial; ok: some host would have taken a message."""

    route: str
    domain: str
    ok: bool
    steps: list[StepView]


async def list_routes(context: ControlContext, _call: Call, _params: NoParams) -> RouteList:
    """All routes."""
    return RouteList([_view(row) for row in context.routes.rows()], context.routes.trouble())


async def explain(context: ControlContext, _call: Call, params: Way) -> Explanation:
    """Which way, and why."""
    found = await context.routes.explain(params.address, params.sender, params.route)
    return Explanation(
        found.choice.route.name,
        clean(found.choice.reason),
        found.choice.route.encryption,
        [
            FamilyView(each.family, each.used, each.source.address, each.confirmed, clean(each.reason))
            for each in found.families
        ],
        [
            HostView(
                clean(each.host.name),
                each.host.port,
                each.host.is_proven or each.host.trusted,
                list(each.addresses),
                list(each.unreachable),
                clean(each.encryption),
                clean(each.trouble),
            )
            for each in found.hosts
        ],
        clean(found.trouble) or context.routes.trouble(),
    )


async def test(context: ControlContext, _call: Call, params: RouteName) -> TrialView:
    """Try it, without a message."""
    trial = await context.routes.test(params.name)
    steps = [StepView(each.what, each.ok, clean(each.text)) for each in trial.steps]
    return TrialView(trial.route, clean(trial.domain), trial.ok, steps)


def _view(row: RouteRow) -> RouteView:
    route, state = row.route, row.state
    return RouteView(
        route.name,
        [f"{host.name}:{host.port}" for host in route.hosts],
        route.encryption,
        route.verify,
        route.login.user if route.login is not None else "",
        route.family,
        list(row.rules),
        row.is_usual,
        state.used_count,
        state.failed_count,
        state.refused_logins,
        state.last_success_at,
        state.last_failure_at,
        clean(state.last_failure),
    )


METHODS = (
    Method("route.list", NoParams, RouteList, list_routes, "The ways on which mail leaves, and how they do."),
    Method("route.explain", Way, Explanation, explain, "Which way mail for an address takes, and why."),
    Method("route.test", RouteName, TrialView, test, "Try a route or the way to a domain, without a message."),
)
