from __future__ import annotations

import pytest

from mailbox_app.outbound.routes.choosing import Route, Source
from mailbox_app.outbound.routes.sources import Families
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver

FOUR, SIX = "1.1.1.1", "2606:4700::1"
PTR4 = ("1.1.1.1.in-addr.arpa", "PTR")
PTR6 = ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.4.6.0.6.2.ip6.arpa", "PTR")
GOOD4 = {PTR4: ["mail.here.example."], ("mail.here.example", "A"): [FOUR]}
GOOD6 = {PTR6: ["mail.here.example."], ("mail.here.example", "AAAA"): [SIX]}


def families(zone: dict[tuple[str, str], list[str]], four: str = FOUR, six: str = SIX) -> Families:
    return Families(FakeResolver(zone), FakeClock(), lambda family: four if family == 4 else six)


async def used(made: Families, route: Route) -> list[int]:
    return [state.family for state in await made.decide(route) if state.used]


@pytest.mark.parametrize(
    ("zone", "four", "six", "expected"),
    [
        (GOOD4 | GOOD6, FOUR, SIX, [4, 6]),
        (GOOD4, FOUR, SIX, [4]),
        (GOOD6, FOUR, SIX, [6, 4]),
        ({}, FOUR, SIX, [4]),
        ({}, "", SIX, [6]),
        ({}, FOUR, "", [4]),
        ({}, "10.0.0.5", SIX, [4]),
        (GOOD4, FOUR, "fd00::1", [4]),
        (GOOD6, "10.0.0.5", SIX, [4, 6]),
        ({PTR6: ["x.example."], ("x.example", "AAAA"): ["2606:4700::2"]}, FOUR, SIX, [4]),
    ],
)  # fmt: skip
async def test_auto_goes_by_what_the_reverse_names_confirm(
    zone: dict[tuple[str, str], list[str]], four: str, six: str, expected: list[int]
) -> None:
    assert await used(families(zone, four, six), Route("mx")) == expected


@pytest.mark.parametrize(("family", "expected"), [("4", [4]), ("6", [6]), ("prefer4", [4, 6]), ("prefer6", [6, 4])])
async def test_a_chosen_family_is_not_checked(family: str, expected: list[int]) -> None:
    assert await used(families({}), Route("mx", family=family)) == expected


async def test_why_a_family_is_not_used_is_told() -> None:
    [four, six] = await families(GOOD4).decide(Route("mx"))
    assert four.reason == "1.1.1.1 is called mail.here.example, which leads back to it"
    assert six.reason == "2606:4700::1 has no reverse name (PTR): others refuse mail by IPv6 from such an address"


async def test_of_a_routes_addresses_the_confirmed_one_is_taken_with_its_name() -> None:
    route = Route("r", sources=(Source("8.8.8.8"), Source(FOUR, "out.example")))
    states = await families(GOOD4).decide(route)
    assert (states[0].source, states[0].confirmed) == (Source(FOUR, "out.example"), True)
    assert (states[1].used, states[1].reason) == (False, "no IPv6 address among the route's sources")


async def test_dns_is_asked_once_and_again_after_some_time() -> None:
    resolver, clock = FakeResolver(GOOD4 | GOOD6), FakeClock()
    made = Families(resolver, clock, lambda family: FOUR if family == 4 else SIX)
    for _ in range(3):
        await made.decide(Route("mx"))
    assert resolver.asked.count(PTR6) == 1
    clock.skip(1000)
    resolver.zone[PTR6] = []
    assert await used(made, Route("mx")) == [4]


async def test_what_was_known_stays_when_dns_is_silent() -> None:
    resolver, clock = FakeResolver(GOOD4 | GOOD6), FakeClock()
    made = Families(resolver, clock, lambda family: FOUR if family == 4 else SIX)
    await made.decide(Route("mx"))
    clock.skip(1000)
    resolver.broken.update({PTR4, PTR6})
    assert await used(made, Route("mx")) == [4, 6]
