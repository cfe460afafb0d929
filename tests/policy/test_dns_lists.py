"""DNS lists: only what a list documents counts; a list that answers wrong is switched off and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.config.load import parse
from mailbox_app.errors import ConfigError
from mailbox_app.policy.checks.dns_lists import Dnsbl, Dnswl
from mailbox_app.policy.dns_lists import OFF_SECONDS, TEST_SECONDS, UNTESTED_SECONDS, DnsLists, reversed_address
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.door import Door, opened, run

ZONE = "bl.example"
ANSWERS = {
    "127.0.0.2": {"meaning": "a source of spam", "score": 3.0},
    "127.0.0.4-7": {"meaning": "a hijacked machine", "score": 4.0},
    "127.0.*.10": {"meaning": "a dynamic address", "score": 1.0},
}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened(tmp_path, dnsbl={"lists": {ZONE: {"answers": ANSWERS}}}) as found:
        found.resolver.zone[(f"2.0.0.127.{ZONE}", "A")] = ["127.0.0.2"]
        yield found


def list_client(door: Door, *answers: str) -> None:
    door.resolver.zone[(f"7.2.0.192.{ZONE}", "A")] = list(answers)


def is_off(door: Door) -> bool:
    return door.metrics.registry.get_sample_value("mailserver_dns_list_off", {"zone": ZONE}) == 1


@pytest.mark.parametrize(
    ("answers", "score", "meaning"),
    [
        (["127.0.0.2"], 3.0, "a source of spam"),
        (["127.0.0.5"], 4.0, "a hijacked machine"),
        (["127.0.200.10"], 1.0, "a dynamic address"),
        (["127.0.0.10", "127.0.0.7", "127.0.0.2"], 4.0, "a hijacked machine"),
    ],
)
def test_a_documented_answer_counts_once(door: Door, answers: list[str], score: float, meaning: str) -> None:
    list_client(door, *answers)
    (finding,) = run(Dnsbl(door.tools), door.facts())
    assert (finding.score, finding.reason) == (score, f"listed by {ZONE}: {meaning}")
    assert finding.inputs["zone"] == ZONE


def test_who_is_not_listed_has_no_finding(door: Door) -> None:
    assert run(Dnsbl(door.tools), door.facts()) == []
    assert not is_off(door)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.255.255.254"],
        ["127.255.255.252", "127.0.0.2"],
        ["127.0.0.3"],
        ["127.0.0.40"],
        ["10.0.0.1"],
        ["127.0.0.2", "93.184.216.34"],
    ],
)
def test_an_undocumented_answer_switches_the_list_off(door: Door, answers: list[str]) -> None:
    list_client(door, *answers)
    check = Dnsbl(door.tools)
    assert run(check, door.facts()) == []
    assert is_off(door)
    list_client(door, "127.0.0.2")
    door.resolver.asked.clear()
    assert run(check, door.facts()) == []
    assert door.resolver.asked == []
    door.clock.skip(OFF_SECONDS + 1)
    assert len(run(check, door.facts())) == 1
    assert not is_off(door)


def test_even_a_documented_error_code_never_counts(door: Door) -> None:
    door.configure(dnsbl={"lists": {ZONE: {"answers": {"127.*.*.*": {"meaning": "anything", "score": 9.0}}}}})
    list_client(door, "127.255.255.254")
    assert run(Dnsbl(door.tools), door.facts()) == []
    assert is_off(door)


def test_a_list_that_lists_everybody_is_off_from_the_start(door: Door) -> None:
    door.resolver.zone[(f"1.0.0.127.{ZONE}", "A")] = ["127.0.0.2"]
    list_client(door, "127.0.0.2")
    assert run(Dnsbl(door.tools), door.facts()) == []
    assert is_off(door)


@pytest.mark.parametrize("test_point", [[], ["127.255.255.255"], ["192.0.2.1"]])
def test_a_list_that_fails_its_test_point_is_off(door: Door, test_point: list[str]) -> None:
    door.resolver.zone[(f"2.0.0.127.{ZONE}", "A")] = test_point
    list_client(door, "127.0.0.2")
    assert run(Dnsbl(door.tools), door.facts()) == []
    assert is_off(door)


def test_a_list_that_cannot_be_tested_says_nothing_and_is_tried_again(door: Door) -> None:
    door.resolver.broken.add((f"2.0.0.127.{ZONE}", "A"))
    list_client(door, "127.0.0.2")
    check = Dnsbl(door.tools)
    assert run(check, door.facts()) == []
    assert not is_off(door)
    door.resolver.broken.clear()
    assert run(check, door.facts()) == []
    door.clock.skip(UNTESTED_SECONDS + 1)
    assert len(run(check, door.facts())) == 1


def test_a_list_is_tested_daily(door: Door) -> None:
    check = Dnsbl(door.tools)
    run(check, door.facts())
    run(check, door.facts())
    assert door.resolver.asked.count((f"2.0.0.127.{ZONE}", "A")) == 1
    door.clock.skip(TEST_SECONDS + 1)
    door.resolver.zone[(f"1.0.0.127.{ZONE}", "A")] = ["127.0.0.2"]
    list_client(door, "127.0.0.2")
    assert run(check, door.facts()) == []
    assert is_off(door)


def test_a_lookup_that_fails_says_nothing(door: Door) -> None:
    check = Dnsbl(door.tools)
    door.resolver.broken.add((f"7.2.0.192.{ZONE}", "A"))
    assert run(check, door.facts()) == []
    assert not is_off(door)


def test_ipv6_is_asked_by_nibbles_unless_the_list_has_none(door: Door) -> None:
    name = f"{'.'.join(reversed('20010db8' + '0' * 23 + '7'))}.{ZONE}"
    door.resolver.zone[(name, "A")] = ["127.0.0.2"]
    assert len(run(Dnsbl(door.tools), door.facts("2001:db8::7"))) == 1
    door.configure(dnsbl={"lists": {ZONE: {"answers": ANSWERS, "ipv6": False}}})
    assert run(Dnsbl(door.tools), door.facts("2001:db8::7")) == []
    assert reversed_address("::ffff:192.0.2.7") == "7.2.0.192"
    assert reversed_address("nonsense") is None


def test_nobody_is_asked_by_default_and_never_about_local_clients(door: Door) -> None:
    assert run(Dnsbl(door.tools), door.facts("10.1.2.3")) == ()
    door.configure()
    list_client(door, "127.0.0.2")
    assert run(Dnsbl(door.tools), door.facts()) == []
    assert run(Dnswl(door.tools), door.facts()) == []
    assert door.resolver.asked == []


def test_an_allow_list_speaks_for_the_client(door: Door) -> None:
    door.configure(dnswl={"lists": {ZONE: {"answers": {"127.0.*.2": {"meaning": "medium", "score": -1.0}}}}})
    list_client(door, "127.0.5.2")
    (finding,) = run(Dnswl(door.tools), door.facts())
    assert (finding.score, finding.reason) == (-1.0, f"known to {ZONE}: medium")


def test_the_example_of_the_manual_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dns-lists.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    config = parse(f'[server]\nhostname = "mail.example.org"\n{example}', tmp_path / "config.toml")
    assert set(config.dnsbl.lists) == {"bl.example.org", "v4only.example.net"}
    assert config.dnswl.lists["wl.example.org"].answers["127.0.*.2-3"].score == -2.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[dnsbl.lists."bl.example".answers]\n"127.0.0.2" = { meaning = "m", score = -1.0 }', "zero or above"),
        ('[dnswl.lists."wl.example".answers]\n"127.0.0.2" = { meaning = "m", score = 1.0 }', "zero or below"),
        ('[dnsbl.lists."bl.example".answers]\n"10.0.0.2" = { meaning = "m", score = 1.0 }', "want a zone"),
        ('[dnsbl.lists.nodots.answers]\n"127.0.0.2" = { meaning = "m", score = 1.0 }', "want a zone"),
        ('[dnsbl.lists."bl.example"]\nipv6 = false', "answers"),
    ],
)
def test_a_list_written_wrong_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(f'[server]\nhostname = "mail.example.org"\n{text}\n', tmp_path / "config.toml")


def test_a_silent_list_costs_only_its_own_score(monkeypatch: pytest.MonkeyPatch, door: Door) -> None:
    monkeypatch.setattr("mailbox_app.policy.dns_lists.LOOK_SECONDS", 0.05)

    class HalfSilent(FakeResolver):
        async def query(self, name: str, rdtype: str):  # type: ignore[no-untyped-def]
            if name.endswith("silent.example"):
                await asyncio.Event().wait()
            return await super().query(name, rdtype)

    resolver = HalfSilent(door.resolver.zone)
    resolver.zone[(f"7.2.0.192.{ZONE}", "A")] = ["127.0.0.2"]
    door.configure(dnsbl={"lists": {"silent.example": {"answers": ANSWERS}, ZONE: {"answers": ANSWERS}}})
    lists = DnsLists(resolver, FakeClock(), door.metrics)
    lists.configure(door.config.dnsbl.lists)
    assert [each.zone for each in asyncio.run(lists.look("192.0.2.7"))] == [ZONE]
