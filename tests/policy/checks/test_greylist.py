"""Who is asked to come back, and who never is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.mailauth.results import DkimResult, Result, SpfResult
from mailbox_app.policy.checks.greylist import Greylist, GreylistMessage
from mailbox_app.policy.facts import Facts
from mailbox_app.policy.pipeline import Pipeline
from mailbox_app.policy.verdict import Finding, Verdict
from tests.support.clock import FakeClock
from tests.support.door import Door, message, opened, run

PASSED = SpfResult(Result.PASS, "sender.example", "mailfrom")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened(tmp_path) as found:
        yield found


def waits(door: Door, facts: Facts) -> bool:
    """Whether RCPT is put off."""
    return any(each.verdict is Verdict.DEFER for each in run(Greylist(door.tools), facts))


def waits_at_the_end(door: Door, facts: Facts) -> bool:
    """Whether the message is put off."""
    return any(each.verdict is Verdict.DEFER for each in run(GreylistMessage(door.tools), facts))


def test_a_stranger_without_proper_names_is_asked_to_come_back(door: Door) -> None:
    (finding,) = run(Greylist(door.tools), door.facts())
    assert finding.verdict is Verdict.DEFER
    assert str(finding.reply) == "451 4.7.1 Greylisted: we do not know you yet, please try again in 5 minutes"
    assert finding.reason == "asked to come back in 5 minutes: SPF says none, no confirmed host name"
    assert door.count("deferred") == 1
    door.clock.skip(200)
    (finding,) = run(Greylist(door.tools), door.facts())
    assert finding.reply.text.endswith("in 2 minutes")
    door.clock.skip(80)
    (finding,) = run(Greylist(door.tools), door.facts())
    assert finding.reply.text.endswith("in 20 seconds")
    door.clock.skip(20)
    (finding,) = run(Greylist(door.tools), door.facts())
    assert (finding.verdict, finding.reason) == (Verdict.ACCEPT, "came back after the wait")
    assert not waits(door, door.facts())
    assert (door.count("deferred"), door.count("came_back"), door.count("known")) == (3, 1, 1)


def test_a_first_timer_in_good_order_does_not_wait(door: Door) -> None:
    door.named("192.0.2.7", "mx.sender.example")
    assert not waits(door, door.facts(spf=Result.PASS))
    assert door.count("not_suspicious") == 1


@pytest.mark.parametrize("spf", [Result.NONE, Result.NEUTRAL, Result.SOFTFAIL, Result.FAIL, Result.TEMPERROR])
def test_without_spf_pass_a_good_host_name_is_not_enough(door: Door, spf: Result) -> None:
    door.named("192.0.2.7", "mx.sender.example")
    assert waits(door, door.facts(spf=spf))


def test_with_spf_pass_a_host_name_of_a_pool_is_not_enough(door: Door) -> None:
    door.named("192.0.2.7", "192-0-2-7.dyn.isp.example")
    assert waits(door, door.facts(spf=Result.PASS))


def test_a_block_list_makes_everybody_suspicious(door: Door) -> None:
    door.named("192.0.2.7", "mx.sender.example")
    facts = door.facts(spf=Result.PASS)
    facts.findings.append(Finding("dnsbl", "listed by bl.example: spam", 2.0, inputs={"zone": "bl.example"}))
    assert waits(door, facts)
    facts.findings[:] = [Finding("dnsbl", "listed by bl.example: spam", 2.0, advisory=True)]
    assert not waits(door, facts)


def test_an_allow_list_lets_in(door: Door) -> None:
    facts = door.facts()
    facts.findings.append(Finding("dnswl", "known to wl.example: medium", -1.0, inputs={"zone": "wl.example"}))
    assert not waits(door, facts)


def test_everybody_unknown_waits_when_the_administrator_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, greylist={"who": "unknown"}) as door:
        door.named("192.0.2.7", "mx.sender.example")
        assert waits(door, door.facts(spf=Result.PASS))


def test_switched_off_it_asks_nobody(tmp_path: Path) -> None:
    with opened(tmp_path, greylist={"enabled": False}) as door:
        assert not waits(door, door.facts())
        assert not waits_at_the_end(door, door.facts(sender="", message=message()))


@pytest.mark.parametrize("remote_ip", ["127.0.0.1", "::1", "198.51.100.9", "203.0.113.5"])
def test_this_machine_trusted_and_allowed_networks_never_wait(tmp_path: Path, remote_ip: str) -> None:
    policy = {"trusted_networks": ["198.51.100.0/24"], "allow": ["203.0.113.5"]}
    with opened(tmp_path, policy=policy) as door:
        assert not waits(door, door.facts(remote_ip))
        assert waits(door, door.facts())


def test_allowed_senders_never_wait(tmp_path: Path) -> None:
    with opened(tmp_path, policy={"allow": ["sender.example"]}) as door:
        pipeline = Pipeline(door.tools, [Greylist(door.tools)])

        def verdict(**facts: Any) -> Verdict:
            return asyncio.run(pipeline.recipient(door.facts(**facts))).verdict()

        assert verdict() is Verdict.ACCEPT
        assert verdict(spf=Result.FAIL) is Verdict.DEFER
        assert verdict(sender="a@other.example") is Verdict.DEFER


def test_exemptions_from_the_console_hold_at_once(door: Door) -> None:
    assert waits(door, door.facts())
    door.files.state.allowances.add("recipient", "alice@example.org")
    assert not waits(door, door.facts())
    assert waits(door, door.facts(recipients=("bob@example.org",)))
    assert door.count("allowed") == 1


def test_an_answer_to_our_own_mail_never_waits_unless_it_is_forged(door: Door) -> None:
    door.files.state.correspondents.wrote(AccountId(1), ["someone@sender.example"])
    assert not waits(door, door.facts(sender="Someone@sender.example"))
    assert waits(door, door.facts(spf=Result.FAIL))


def test_a_provider_that_retries_from_other_networks_is_one_by_spf_and_by_host_name(door: Door) -> None:
    door.named("192.0.2.7", "192-0-2-7.pool.example")
    door.named("198.51.100.7", "198-51-100-7.pool.example")
    assert waits(door, door.facts("192.0.2.7", spf=Result.PASS))
    door.clock.skip(301)
    assert not waits(door, door.facts("198.51.100.7", spf=Result.PASS))
    door.named("192.0.2.8", "out1.big.example")
    door.named("203.0.113.8", "out2.big.example")
    assert waits(door, door.facts("192.0.2.8", sender="a@forwarded.example"))
    door.clock.skip(301)
    assert not waits(door, door.facts("203.0.113.8", sender="a@forwarded.example"))


def test_each_recipient_waits_once_under_its_canonical_address(door: Door) -> None:
    facts = door.facts(recipients=("alice+news@alias.example",))
    facts.recipients[0] = type(facts.recipients[0])("alice+news@alias.example", "alice@example.org")
    assert waits(door, facts)
    door.clock.skip(301)
    assert not waits(door, door.facts(recipients=("alice@example.org",)))


@pytest.mark.parametrize(
    ("name", "spf", "is_late"),
    [
        ("mx.sender.example", Result.NONE, False),
        ("mx.sender.example", Result.FAIL, True),
        ("192-0-2-7.dyn.isp.example", Result.NONE, True),
    ],
)
def test_a_bounce_from_a_server_with_a_name_does_not_wait_for_want_of_spf(
    door: Door, name: str, spf: Result, is_late: bool
) -> None:
    door.named("192.0.2.7", name)
    assert waits_at_the_end(door, door.facts(sender="", spf=spf, message=message())) is is_late


def test_a_null_sender_waits_only_at_the_end_so_that_address_checks_are_never_held_up(door: Door) -> None:
    facts = door.facts(sender="", message=message())
    assert not waits(door, facts)
    assert waits_at_the_end(door, facts)
    door.clock.skip(301)
    assert not waits_at_the_end(door, facts)
    assert waits_at_the_end(
        door, door.facts(sender="", helo="other.example", recipients=("bob@example.org",), message=message())
    )


def test_a_domain_that_proved_itself_by_spf_is_known_everywhere(door: Door) -> None:
    first = door.facts(spf=Result.PASS)
    assert waits(door, first)
    door.clock.skip(301)
    first.message = message(spf=PASSED)
    assert not waits(door, first)
    assert not waits_at_the_end(door, first)
    other = door.facts("198.51.100.1", sender="new@sender.example", recipients=("bob@example.org",), spf=Result.PASS)
    (finding,) = run(Greylist(door.tools), other)
    assert finding.reason == "its domain proved itself before"


def signed(result: Result = Result.PASS, domain: str = "sender.example") -> DkimResult:
    return DkimResult(result, domain)


def test_a_domain_known_to_sign_shows_its_signature_first(door: Door) -> None:
    door.files.state.greylist.proved("sender.example", spf=False, dkim=True)
    facts = door.facts(spf=Result.NONE, message=message(dkim=[signed()]))
    assert not waits(door, facts)
    assert not waits_at_the_end(door, facts)
    assert door.count("signature_awaited") == 1
    forged = door.facts("198.51.100.1", sender="boss@sender.example", message=message(dkim=[signed(Result.FAIL)]))
    assert not waits(door, forged)
    assert waits_at_the_end(door, forged)
    foreign = door.facts("198.51.100.1", message=message(dkim=[signed(domain="evil.example")]))
    assert waits_at_the_end(door, foreign)


def test_what_waited_at_rcpt_does_not_wait_again_at_the_end(door: Door) -> None:
    facts = door.facts(message=message())
    assert waits(door, facts)
    door.clock.skip(301)
    facts.findings.extend(run(Greylist(door.tools), facts))
    assert run(GreylistMessage(door.tools), facts) == []


def test_a_domain_whose_mail_is_junk_is_not_learnt(door: Door) -> None:
    facts = door.facts(spf=Result.PASS, message=message(spf=PASSED))
    facts.findings.append(Finding("other", "junk", 9.0))
    assert not waits_at_the_end(door, facts)
    assert not door.files.state.greylist.domain("sender.example", 86_400).spf_at_seconds


def test_dns_that_never_answers_costs_seconds_and_decides(tmp_path: Path) -> None:
    clock = FakeClock()
    with opened(tmp_path, clock) as door:
        facts = door.facts()

        async def never() -> str:
            await asyncio.Event().wait()
            return ""

        facts.remote_name = never

        async def ask() -> list[Finding]:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("mailbox_app.policy.checks.greylist._DNS_SECONDS", 0.0)
                return list(await Greylist(door.tools).run(facts))

        (finding,) = asyncio.run(ask())
        assert finding.verdict is Verdict.DEFER
        assert "host name could not be found out" in finding.reason


def test_storage_trouble_lets_in(door: Door) -> None:
    door.files.close()
    assert not waits(door, door.facts())


def test_a_reload_changes_the_wait(door: Door) -> None:
    check = Greylist(door.tools)
    assert run(check, door.facts())[0].verdict is Verdict.DEFER
    door.configure(greylist={"min_delay": "1m"})
    door.clock.skip(61)
    assert run(check, door.facts())[0].verdict is Verdict.ACCEPT
