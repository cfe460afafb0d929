from __future__ import annotations

import pytest

from mailbox_app.mailauth.iprev import iprev
from mailbox_app.mailauth.results import Result
from tests.mailauth.zone import ZoneResolver

POINTER = ("5.2.0.192.in-addr.arpa", "PTR")
POINTER6 = ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", "PTR")


async def test_a_name_that_leads_back_is_confirmed():
    found = await iprev(
        ZoneResolver({POINTER: ["MX.Example.NET."], ("mx.example.net", "A"): ["192.0.2.5"]}), "192.0.2.5"
    )
    assert (found.result, found.name) == (Result.PASS, "mx.example.net")


@pytest.mark.parametrize("text", ["2001:db8::1", "2001:0db8:0:0:0:0:0:1"])
async def test_ipv6_addresses_are_compared_as_addresses(text):
    zone = {POINTER6: ["mx.example.net."], ("mx.example.net", "AAAA"): ["2001:DB8:0::1"]}
    assert (await iprev(ZoneResolver(zone), text)).result is Result.PASS


async def test_a_mapped_address_is_its_ipv4_address():
    zone = {POINTER: ["mx.example.net."], ("mx.example.net", "A"): ["192.0.2.5"]}
    assert (await iprev(ZoneResolver(zone), "::ffff:192.0.2.5")).name == "mx.example.net"


async def test_a_name_that_leads_elsewhere_fails():
    found = await iprev(
        ZoneResolver({POINTER: ["mx.example.net."], ("mx.example.net", "A"): ["192.0.2.6"]}), "192.0.2.5"
    )
    assert (found.result, found.name, found.claimed) == (Result.FAIL, "", ("mx.example.net",))


@pytest.mark.parametrize("records", [[], ["localhost."], ["a b.example."], ["-."], ["x" * 300 + ".example."]])
async def test_an_address_without_a_usable_name_has_none(records):
    assert (await iprev(ZoneResolver({POINTER: records}), "192.0.2.5")).result is Result.PERMERROR


async def test_many_names_cost_five_questions():
    zone = ZoneResolver({POINTER: [f"n{number}.example." for number in range(500)]})
    assert (await iprev(zone, "192.0.2.5")).result is Result.FAIL
    assert len(zone.asked) == 6


@pytest.mark.parametrize("broken", [POINTER[0], "mx.example.net"])
async def test_dns_trouble_is_temporary(broken):
    zone = ZoneResolver({POINTER: ["mx.example.net."]}, broken=[broken])
    assert (await iprev(zone, "192.0.2.5")).result is Result.TEMPERROR


async def test_one_name_that_cannot_be_asked_does_not_hide_another():
    zone = ZoneResolver(
        {POINTER: ["a.example.", "b.example."], ("b.example", "A"): ["192.0.2.5"]}, broken=["a.example"]
    )
    assert (await iprev(zone, "192.0.2.5")).name == "b.example"


async def test_what_is_no_address_has_no_name():
    assert (await iprev(ZoneResolver(), "unix")).result is Result.PERMERROR
