from __future__ import annotations

import pytest

from mailbox_app.mailqueue.model import Fate
from mailbox_app.outbound.next_hop import MailHost, NextHops, Unroutable, parse_smarthost
from tests.support.dns import FakeResolver, Zone


def hops(zone: Zone, *, private: bool = True) -> tuple[NextHops, FakeResolver]:
    resolver = FakeResolver(zone)
    made = NextHops(resolver, hostname="Here.example", port=25, allow_private_addresses=private)
    return made, resolver


async def names(zone: Zone, domain: str = "there.example") -> list[str]:
    return [host.name for host in await hops(zone)[0].hosts(domain)]


async def refusal(zone: Zone, domain: str = "there.example") -> tuple[Fate, int, str]:
    with pytest.raises(Unroutable) as caught:
        await hops(zone)[0].hosts(domain)
    return caught.value.fate, caught.value.smtp_code, caught.value.enhanced


def mx(*records: str) -> Zone:
    return {("there.example", "MX"): list(records)}


async def test_hosts_come_by_preference_and_each_once() -> None:
    assert await names(mx("20 b.", "10 A.", "30 c.", "40 a.")) == ["a", "b", "c"]


async def test_equal_preferences_are_shuffled() -> None:
    seen = {tuple(await names(mx("10 a.", "10 b.", "5 first."))) for _ in range(60)}
    assert seen == {("first", "a", "b"), ("first", "b", "a")}


async def test_at_most_five_hosts_are_tried() -> None:
    assert len(await names(mx(*(f"{number} h{number}." for number in range(9))))) == 5


async def test_a_domain_without_mx_is_its_own_host() -> None:
    assert await names({("there.example", "A"): ["192.0.2.1"]}) == ["there.example"]


async def test_a_null_mx_takes_no_mail() -> None:
    assert await refusal(mx("0 .")) == (Fate.FAILED, 556, "5.1.10")


async def test_an_unknown_domain_fails_at_once() -> None:
    assert await refusal({}) == (Fate.FAILED, 550, "5.1.2")


async def test_a_silent_dns_is_temporary() -> None:
    made, resolver = hops({})
    resolver.broken.add(("there.example", "MX"))
    with pytest.raises(Unroutable) as caught:
        await made.hosts("there.example")
    assert (caught.value.fate, caught.value.enhanced) == (Fate.DEFERRED, "4.4.3")


async def test_hosts_from_our_own_preference_on_are_left_out() -> None:
    assert await names(mx("10 a.", "20 here.example.", "20 b.", "30 c.")) == ["a"]
    assert (await refusal(mx("20 here.example.", "20 b.")))[0] is Fate.LOOP
    assert (await refusal({("here.example", "A"): ["192.0.2.1"]}, "here.example"))[0] is Fate.LOOP


@pytest.mark.parametrize(("domain", "address"), [("[192.0.2.7]", "192.0.2.7"), ("[IPv6:2001:db8::1]", "2001:db8::1")])
async def test_an_address_literal_is_its_address(domain: str, address: str) -> None:
    assert await names({}, domain) == [address]


@pytest.mark.parametrize("domain", ["[]", "[x]", "[IPv6:1]", "[300.1.1.1]"])
async def test_a_wrong_literal_fails(domain: str) -> None:
    assert (await refusal({}, domain))[0] is Fate.FAILED


ADDRESSES: Zone = {
    ("two.example", "A"): ["1.1.1.1", "1.1.1.2", "1.1.1.3"],
    ("two.example", "AAAA"): ["2606:4700::1"],
    ("alias.example", "CNAME"): ["two.example."],
    ("inner.example", "A"): ["10.0.0.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "192.0.2.1"],
    ("inner.example", "AAAA"): ["::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"],
    ("empty.example", "MX"): ["10 x."],
}


async def test_a_host_gives_addresses_of_both_families_in_turn_also_behind_an_alias() -> None:
    made, _ = hops(ADDRESSES, private=False)
    for name in ("two.example", "alias.example"):
        assert await made.addresses(MailHost(name, 25)) == ["1.1.1.1", "2606:4700::1", "1.1.1.2"]


async def test_an_mx_that_is_an_address_is_taken_as_one() -> None:
    assert await hops({})[0].addresses(MailHost("192.0.2.1", 25)) == ["192.0.2.1"]


async def test_private_addresses_are_refused_as_temporary_unless_allowed_or_named_by_the_operator() -> None:
    made, _ = hops(ADDRESSES, private=False)
    with pytest.raises(Unroutable) as caught:
        await made.addresses(MailHost("inner.example", 25))
    assert (caught.value.fate, caught.value.enhanced) == (Fate.DEFERRED, "4.4.4")
    assert await made.addresses(MailHost("inner.example", 25, trusted=True))
    assert await hops(ADDRESSES)[0].addresses(MailHost("inner.example", 25))


async def test_a_host_without_addresses_fails() -> None:
    with pytest.raises(Unroutable) as caught:
        await hops(ADDRESSES)[0].addresses(MailHost("empty.example", 25))
    assert (caught.value.fate, caught.value.enhanced) == (Fate.FAILED, "5.4.4")


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("relay.example", "relay.example", 25),
        ("relay.example:587", "relay.example", 587),
        ("127.0.0.1:2525", "127.0.0.1", 2525),
        ("[::1]:2525", "::1", 2525),
        ("[::1]", "::1", 25),
        ("::1", "::1", 25),
    ],
)
def test_a_smarthost_is_a_host_and_a_port(text: str, name: str, port: int) -> None:
    assert parse_smarthost(text) == MailHost(name, port, trusted=True)


async def test_a_host_of_the_configuration_without_an_address_makes_mail_wait() -> None:
    made, _ = hops({})
    with pytest.raises(Unroutable) as caught:
        await made.addresses(MailHost("relay.exmaple", 587, trusted=True))
    assert (caught.value.fate, caught.value.smtp_code) == (Fate.DEFERRED, 451)
    assert "relay.exmaple, which the configuration names, has no address" in caught.value.public_text


async def test_localhost_is_this_machine_for_the_configuration_only() -> None:
    made, _ = hops({})
    assert list(await made.addresses(MailHost("localhost", 2525, trusted=True))) == ["127.0.0.1"]
    with pytest.raises(Unroutable) as caught:
        await made.addresses(MailHost("localhost", 25))
    assert caught.value.fate is Fate.FAILED
