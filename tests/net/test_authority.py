from __future__ import annotations

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.errors import ResolveError
from mailbox_app.net.authority import ZoneServers
from mailbox_app.net.resolver import DnsResolver
from tests.support.dns import FakeDnsServer

NAME = "k1._domainkey.example.org"
ZONE = {
    ("example.org", "NS"): ["ns1.example.org.", "ns2.elsewhere.example."],
    ("ns1.example.org", "A"): ["127.0.0.1"],
    ("ns2.elsewhere.example", "A"): ["127.0.0.1"],
    (NAME, "TXT"): ['"v=DKIM1; k=ed25519; " "p=AAAA"'],
}


def zone_servers(server: FakeDnsServer) -> ZoneServers:
    return ZoneServers(DnsResolver([server.address], 2, SystemClock()), server.port)


async def test_each_name_server_of_the_zone_is_asked_by_itself() -> None:
    async with FakeDnsServer(ZONE, ttl=77) as server:
        answers = await zone_servers(server).txt(NAME)
    assert [(each.server, each.records, each.ttl_seconds) for each in answers] == [
        ("ns1.example.org", ["v=DKIM1; k=ed25519; p=AAAA"], 77.0),
        ("ns2.elsewhere.example", ["v=DKIM1; k=ed25519; p=AAAA"], 77.0),
    ]


async def test_an_absent_record_comes_with_the_time_that_resolvers_remember_its_absence() -> None:
    async with FakeDnsServer(ZONE, ttl=900) as server:
        answers = await zone_servers(server).txt("other._domainkey.example.org")
    assert [(each.records, each.ttl_seconds) for each in answers] == [((), 900.0), ((), 900.0)]


async def test_an_alias_is_told_and_not_followed() -> None:
    zone = {**ZONE, ("other._domainkey.example.org", "CNAME"): ["k.provider.example."]}
    async with FakeDnsServer(zone) as server:
        answers = await zone_servers(server).txt("other._domainkey.example.org")
    assert [each.alias for each in answers] == ["k.provider.example", "k.provider.example"]


async def test_a_server_that_fails_or_has_no_address_did_not_answer() -> None:
    zone = {key: value for key, value in ZONE.items() if key != ("ns2.elsewhere.example", "A")}
    async with FakeDnsServer(zone) as server:
        server.failing.add(NAME)
        answers = await zone_servers(server).txt(NAME)
    assert [each.records for each in answers] == [None, None]


async def test_a_zone_without_name_servers_is_an_error() -> None:
    async with FakeDnsServer({("example.org", "A"): ["127.0.0.1"]}) as server:
        with pytest.raises(ResolveError):
            await zone_servers(server).txt(NAME)
