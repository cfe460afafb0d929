"""Host names and greeting names: what scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.policy.checks.ptr import Helo, Ptr
from tests.support.door import HOSTNAME, Door, opened, run

REVERSE = ("7.2.0.192.in-addr.arpa", "PTR")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened(tmp_path) as found:
        yield found


def test_a_confirmed_name_of_its_own_is_nothing_to_tell(door: Door) -> None:
    door.named("192.0.2.7", "mx.sender.example")
    assert run(Ptr(door.tools), door.facts()) == ()


def test_no_name_a_foreign_name_and_a_name_of_a_pool_score(door: Door) -> None:
    check = Ptr(door.tools)
    (finding,) = run(check, door.facts())
    assert (finding.score, finding.reason) == (2.0, "192.0.2.7 has no host name")
    door.resolver.zone[REVERSE] = ["mx.sender.example."]
    (finding,) = run(check, door.facts())
    assert (finding.score, finding.reason) == (1.5, "the host name mx.sender.example does not lead back to 192.0.2.7")
    door.named("192.0.2.7", "7-2-0-192.pool.isp.example")
    (finding,) = run(check, door.facts())
    assert (finding.score, finding.reason) == (
        2.0,
        "the host name 7-2-0-192.pool.isp.example looks like one of a pool",
    )


def test_dns_trouble_is_not_held_against_the_client(door: Door) -> None:
    door.resolver.broken.add(REVERSE)
    assert run(Ptr(door.tools), door.facts()) == ()


def test_local_clients_need_no_names(door: Door) -> None:
    assert run(Ptr(door.tools), door.facts("10.0.0.7")) == ()
    assert run(Helo(door.tools), door.facts("10.0.0.7", helo="printer")) == ()


@pytest.mark.parametrize(
    ("helo", "score"),
    [
        ("mx.sender.example", 0),
        ("MX.Sender.Example.", 0),
        ("[192.0.2.7]", 0),
        ("", 0),
        (HOSTNAME.upper(), 3.0),
        ("[192.0.2.8]", 1.0),
        ("[nonsense]", 1.0),
        ("192.0.2.7", 1.5),
        ("localhost", 0.5),
        ("my pc", 0.5),
    ],
)
def test_greeting_names(door: Door, helo: str, score: float) -> None:
    assert sum(each.score for each in run(Helo(door.tools), door.facts(helo=helo))) == score


def test_an_ipv6_literal_is_compared_as_an_address(door: Door) -> None:
    check = Helo(door.tools)
    assert run(check, door.facts("2001:db8::7", helo="[IPv6:2001:0db8:0::7]")) == ()
    assert run(check, door.facts("2001:db8::7", helo="[IPv6:2001:db8::8]"))[0].score == 1.0
