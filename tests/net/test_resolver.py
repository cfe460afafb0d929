from __future__ import annotations

import asyncio

import pytest

from mailbox_app.errors import ResolveError
from mailbox_app.net import resolver as module
from mailbox_app.net.resolver import DnsResolver, lookup_addresses
from tests.support.clock import FakeClock
from tests.support.dns import FakeDnsServer, FakeResolver

ZONE = {
    ("example.org", "MX"): ["10 mx1.example.org.", "20 mx2.example.org."],
    ("mx1.example.org", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.example.org", "AAAA"): ["2001:db8::1"],
    ("alias.example.org", "CNAME"): ["mx1.example.org."],
    ("example.org", "TXT"): ["v=spf1 -all"],
    ("long.example.org", "TXT"): ["x" * 3000],
    ("null.example.org", "MX"): ["0 ."],
}


@pytest.fixture
async def server():
    async with FakeDnsServer(ZONE) as started:
        yield started


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver(server: FakeDnsServer, clock: FakeClock) -> DnsResolver:
    return DnsResolver([server.address], 5, clock)


async def test_records_come_in_presentation_form(resolver: DnsResolver) -> None:
    assert set((await resolver.query("Example.ORG.", "MX")).records) == {"10 mx1.example.org.", "20 mx2.example.org."}
    assert (await resolver.query("null.example.org", "MX")).records == ("0 .",)
    assert (await resolver.query("example.org", "TXT")).records == ("v=spf1 -all",)


async def test_aliases_are_followed(resolver: DnsResolver) -> None:
    assert set((await resolver.query("alias.example.org", "A")).records) == {"192.0.2.1", "192.0.2.2"}


async def test_absent_names_and_absent_types_are_answers(resolver: DnsResolver) -> None:
    missing = await resolver.query("nowhere.example.org", "A")
    assert (missing.records, missing.exists) == ((), False)
    empty = await resolver.query("mx1.example.org", "MX")
    assert (empty.records, empty.exists) == ((), True)


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".org", "a." * 130 + "org", "\ud800.org"])
async def test_a_name_that_cannot_be_asked_does_not_exist(resolver: DnsResolver, name: str) -> None:
    assert not (await resolver.query(name, "A")).exists


async def test_a_cut_answer_is_fetched_over_tcp(resolver: DnsResolver, server: FakeDnsServer) -> None:
    assert (await resolver.query("long.example.org", "TXT")).records == ("x" * 3000,)
    assert server.asked_over_tcp == 1


@pytest.mark.parametrize(
    ("rdtype", "record"),
    [("A", "192.0.{}.{}"), ("MX", "10 h{}-{}.example.org."), ("TXT", "v=spf1 {} {} " + "a" * 200)],
)
async def test_an_answer_of_endless_length_is_none(
    resolver: DnsResolver, server: FakeDnsServer, rdtype: str, record: str
) -> None:
    records = [
        record.format(number // 250, number % 250) for number in range({"TXT": 80, "MX": 900, "A": 1500}[rdtype])
    ]
    server.zone["huge.example.org", rdtype] = records
    with pytest.raises(ResolveError):
        await resolver.query("huge.example.org", rdtype)
    server.zone["fits.example.org", rdtype] = records[:50]
    assert len((await resolver.query("fits.example.org", rdtype)).records) == 50


async def test_kept_answers_are_bounded_in_all(resolver: DnsResolver, server: FakeDnsServer) -> None:
    for number in range(30):
        server.zone[f"t{number}.example.org", "TXT"] = ["x" * 10_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CACHE_CHARACTERS", 100_000)
        for number in range(30):
            await resolver.query(f"t{number}.example.org", "TXT")
        count = len(server.asked)
        await resolver.query("t29.example.org", "TXT")
        assert len(server.asked) == count
        await resolver.query("t10.example.org", "TXT")
        assert len(server.asked) == count + 2  # over UDP and, being long, over TCP


async def test_the_ad_bit_is_reported(resolver: DnsResolver, server: FakeDnsServer) -> None:
    assert not (await resolver.query("example.org", "MX")).authenticated
    server.authenticated = True
    assert (await resolver.query("example.org", "TXT")).authenticated


async def test_answers_are_kept_for_their_ttl_and_no_longer(
    resolver: DnsResolver, server: FakeDnsServer, clock: FakeClock
) -> None:
    await resolver.query("example.org", "MX")
    clock.skip(299)
    await resolver.query("example.org", "MX")
    assert len(server.asked) == 1
    clock.skip(2)
    await resolver.query("example.org", "MX")
    assert len(server.asked) == 2


async def test_absence_is_kept_for_the_soa_minimum(
    resolver: DnsResolver, server: FakeDnsServer, clock: FakeClock
) -> None:
    server.ttl = 100_000
    await resolver.query("nowhere.example.org", "A")
    clock.skip(3599)
    await resolver.query("nowhere.example.org", "A")
    assert len(server.asked) == 1
    clock.skip(2)
    await resolver.query("nowhere.example.org", "A")
    assert len(server.asked) == 2


async def test_a_failure_is_temporary_and_kept_for_half_a_minute(
    resolver: DnsResolver, server: FakeDnsServer, clock: FakeClock
) -> None:
    server.failing.add("example.org")
    for _ in range(2):
        with pytest.raises(ResolveError) as caught:
            await resolver.query("example.org", "MX")
        assert caught.value.temporary
    assert len(server.asked) == 1
    server.failing.clear()
    clock.skip(31)
    assert (await resolver.query("example.org", "MX")).records


async def test_the_next_server_is_asked_when_one_fails(server: FakeDnsServer, clock: FakeClock) -> None:
    async with FakeDnsServer(ZONE) as broken:
        broken.failing.add("example.org")
        resolver = DnsResolver([broken.address, server.address], 5, clock)
        assert (await resolver.query("example.org", "MX")).records


async def test_equal_questions_travel_once(resolver: DnsResolver, server: FakeDnsServer) -> None:
    answers = await asyncio.gather(*(resolver.query("example.org", "MX") for _ in range(20)))
    assert len(server.asked) == 1
    assert len({answer.records for answer in answers}) == 1


async def test_one_caller_that_gives_up_leaves_the_answer_to_the_others(resolver: DnsResolver) -> None:
    first = asyncio.create_task(resolver.query("example.org", "MX"))
    second = asyncio.create_task(resolver.query("example.org", "MX"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).records


async def test_questions_fail_at_once_when_no_server_answers(server: FakeDnsServer, clock: FakeClock) -> None:
    server.silent = True
    resolver = DnsResolver([server.address], 0.05, clock)  # type: ignore[arg-type]
    for number in range(3):
        with pytest.raises(ResolveError):
            await resolver.query(f"n{number}.example.org", "A")
    asked = len(server.asked)
    server.silent = False
    with pytest.raises(ResolveError):
        await resolver.query("example.org", "MX")
    assert len(server.asked) == asked
    clock.skip(6)
    assert (await resolver.query("example.org", "MX")).records


async def test_names_nobody_answers_for_cost_others_nothing(server: FakeDnsServer, clock: FakeClock) -> None:
    server.silent_names = {f"dead{number}.example.org" for number in range(10)}
    resolver = DnsResolver([server.address], 0.05, clock)
    for name in server.silent_names:
        with pytest.raises(ResolveError):
            await resolver.query(name, "TXT")
        assert (await resolver.query("example.org", "MX")).records
    fresh = await resolver.query("mx1.example.org", "A")
    assert fresh.records


async def test_many_questions_take_turns(
    server: FakeDnsServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailbox_app.net.resolver._MAX_TRAVELLING", 2)
    resolver = DnsResolver([server.address], 5, clock)
    answers = await asyncio.gather(*(resolver.query(f"n{number}.example.org", "A") for number in range(20)))
    assert len(answers) == 20
    server.silent = True
    slow = DnsResolver([server.address], 0.05, clock)
    failures = await asyncio.gather(
        *(slow.query(f"n{number}.example.org", "A") for number in range(20)), return_exceptions=True
    )
    assert all(isinstance(failure, ResolveError) for failure in failures)


async def test_the_cache_is_bounded(
    resolver: DnsResolver, server: FakeDnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailbox_app.net.resolver._CACHE_ENTRIES", 3)
    for number in range(5):
        await resolver.query(f"n{number}.example.org", "A")
    await resolver.query("n4.example.org", "A")
    assert len(server.asked) == 5
    await resolver.query("n0.example.org", "A")
    assert len(server.asked) == 6


async def test_addresses_of_both_families_alternate(resolver: DnsResolver) -> None:
    found = await lookup_addresses(resolver, "mx1.example.org")
    assert found[1] == "2001:db8::1"
    assert {found[0], found[2]} == {"192.0.2.1", "192.0.2.2"}


async def test_one_family_is_enough_and_no_family_is_a_failure() -> None:
    fake = FakeResolver({("a.example", "A"): ["192.0.2.1"], ("b.example", "MX"): ["10 a.example."]})
    fake.broken = {("a.example", "AAAA"), ("b.example", "AAAA")}
    assert await lookup_addresses(fake, "a.example") == ["192.0.2.1"]
    with pytest.raises(ResolveError):
        await lookup_addresses(fake, "b.example")


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:53", "::1", "[::1]:5353", "[::1]"])
def test_servers_are_written_as_address_and_port(text: str, clock: FakeClock) -> None:
    DnsResolver([text], 5, clock)


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1:x"])
def test_a_server_that_is_no_address_is_refused(text: str, clock: FakeClock) -> None:
    with pytest.raises(ValueError):
        DnsResolver([text], 5, clock)
