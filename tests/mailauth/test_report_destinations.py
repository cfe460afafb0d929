"""Where reports may go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.report_destinations import Destination, admitted, read_destinations
from tests.support.dns import FakeResolver

OUTSIDE = Destination("dmarc@reports.example", "reports.example")
NAME = "a.example._report._dmarc.reports.example"


def ask(records: Sequence[str], destination: Destination = OUTSIDE, domain: str = "a.example") -> Sequence[str]:
    zone: Mapping[tuple[str, str], Sequence[str]] = {(NAME, "TXT"): records} if records else {}
    found = asyncio.run(admitted(FakeResolver(zone), domain, destination))
    return [each.address for each in found]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mailto:dmarc@a.example", Destination("dmarc@a.example", "a.example")),
        ("MAILTO:Dmarc@A.Example!10m", Destination("Dmarc@a.example", "a.example", 10 << 20)),
        ("mailto:dmarc@a.example!5000", Destination("dmarc@a.example", "a.example", 5000)),
        ("mailto:d%2Bx@a.example?subject=y", Destination("d+x@a.example", "a.example")),
        ("mailto:dmarc@b\u00fccher.example", Destination("dmarc@xn--bcher-kva.example", "xn--bcher-kva.example")),
        ("https://a.example/dmarc", None),
        ("mailto:postmaster", None),
        ("mailto:dmarc@[192.0.2.1]", None),
        ("mailto:dmarc@localhost", None),
        ("mailto:d\u00fc@a.example", None),
        ("mailto:a%0d%0aBcc:x@a.example", None),
    ],
)
def test_addresses_of_a_record(uri: str, expected: Destination | None) -> None:
    assert read_destinations([uri]) == ([expected] if expected else [])


def test_an_address_counts_once_and_only_some_are_served() -> None:
    assert len(read_destinations(["mailto:a@a.example", "mailto:A@a.example!1k"])) == 1
    assert len(read_destinations([f"mailto:a{number}@a.example" for number in range(20)])) == 5


@pytest.mark.parametrize("host", ["a.example", "mail.a.example", "other.a.example"])
def test_the_own_organization_needs_no_leave(host: str) -> None:
    destination = Destination(f"dmarc@{host}", host)
    assert ask([], destination, "a.example") == [destination.address]


def test_a_stranger_must_say_that_it_wants_the_reports() -> None:
    assert ask([]) == []
    assert ask(["v=spf1 -all", "no record"]) == []
    assert ask(["v=DMARC1"]) == [OUTSIDE.address]
    assert ask(["v=spf1 -all", "v=DMARC1;"]) == [OUTSIDE.address]


def test_it_may_name_another_address_of_its_own_and_no_one_elses() -> None:
    assert ask(["v=DMARC1; rua=mailto:other@reports.example!1m"]) == ["other@reports.example"]
    assert ask(["v=DMARC1; rua=mailto:victim@victim.example"]) == [OUTSIDE.address]


def test_silence_of_dns_is_no_answer() -> None:
    resolver = FakeResolver()
    resolver.broken.add((NAME, "TXT"))
    with pytest.raises(ResolveError):
        asyncio.run(admitted(resolver, "a.example", OUTSIDE))


def test_a_name_that_dns_cannot_hold_is_no_leave() -> None:
    label = "a" * 60
    domain = f"{label}.{label}.{label}.example"
    host = f"{label}.{label}.test"
    assert asyncio.run(admitted(FakeResolver(), domain, Destination(f"x@{host}", host))) == ()
