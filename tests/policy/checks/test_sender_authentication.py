"""What SPF, DKIM, DMARC and ARC come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.mailauth.results import (
    DkimResult,
    DmarcResult,
    OverrideKind,
    Result,
    SpfResult,
)
from mailbox_app.policy.checks.sender_authentication import SenderAuthentication
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from tests.support.door import Door, message, opened, run

BANK = "bank.example"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with opened(tmp_path) as found:
        yield found


def failing(policy: str, disposition: str | None = None) -> DmarcResult:
    return DmarcResult(Result.FAIL, BANK, policy, BANK, disposition=policy if disposition is None else disposition)


def findings(door: Door, remote_ip: str = "192.0.2.7", sender: str = f"x@{BANK}", **results: Any) -> list[Finding]:
    facts = door.facts(remote_ip, sender=sender, message=message(**results))
    return list(run(SenderAuthentication(door.tools), facts))


def verdict(found: list[Finding]) -> Verdict:
    return Judgement(tuple(found)).verdict()


def test_a_forged_domain_that_asks_for_rejection_is_refused(door: Door) -> None:
    found = findings(door, dmarc=failing("reject"), spf=SpfResult(Result.FAIL, BANK))
    assert verdict(found) is Verdict.REJECT
    assert found[0].reply is not None
    assert str(found[0].reply).startswith(f"550 5.7.1 {BANK} asks")
    assert found[0].inputs["dmarc"] == "fail"


def test_quarantine_is_junk_and_none_a_score(door: Door) -> None:
    assert verdict(findings(door, dmarc=failing("quarantine"))) is Verdict.JUNK
    found = findings(door, dmarc=failing("none"))
    assert (verdict(found), found[0].score) == (Verdict.ACCEPT, 1.0)


@pytest.mark.parametrize("disposition", ["quarantine", "none"])
def test_what_the_owner_asks_milder_is_done_milder_and_says_why(door: Door, disposition: str) -> None:
    dmarc = failing("reject").overridden(OverrideKind.SAMPLED_OUT, disposition)
    found = findings(door, dmarc=dmarc)
    assert verdict(found) is (Verdict.JUNK if disposition == "quarantine" else Verdict.ACCEPT)
    assert "sampled_out" in found[0].reason


LIST_SIGNED = DkimResult(Result.PASS, "list.example")
AUTHOR_BROKEN = DkimResult(Result.FAIL, f"mail.{BANK}")


@pytest.mark.parametrize(
    ("spf", "dkim", "is_list", "wanted"),
    [
        (Result.PASS, [], True, Verdict.JUNK),
        (Result.NONE, [LIST_SIGNED], True, Verdict.JUNK),
        (Result.PASS, [AUTHOR_BROKEN], False, Verdict.JUNK),
        (Result.PASS, [], False, Verdict.REJECT),
        (Result.PASS, [LIST_SIGNED], False, Verdict.REJECT),
        (Result.FAIL, [], True, Verdict.REJECT),
        (Result.FAIL, [AUTHOR_BROKEN], True, Verdict.REJECT),
    ],
)
def test_what_a_list_or_a_forwarder_may_have_changed_is_junk_and_not_refused(
    door: Door, spf: Result, dkim: list[DkimResult], is_list: bool, wanted: Verdict
) -> None:
    dmarc = replace(failing("reject"), mailing_list=is_list, organization=BANK)
    assert verdict(findings(door, dmarc=dmarc, dkim=dkim, spf=SpfResult(spf, "list.example"))) is wanted


@pytest.mark.parametrize(("how", "wanted"), [("junk", Verdict.JUNK), ("report", Verdict.ACCEPT)])
def test_the_administrator_may_be_milder(tmp_path: Path, how: str, wanted: Verdict) -> None:
    with opened(tmp_path, policy={"dmarc": how}) as door:
        assert verdict(findings(door, dmarc=failing("reject"))) is wanted


def test_trusted_and_allowed_clients_are_excused_but_a_name_alone_proves_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, policy={"trusted_networks": ["198.51.100.0/24"], "allow": ["203.0.113.0/24", BANK]}) as door:
        for remote_ip in ("198.51.100.1", "203.0.113.1", "127.0.0.1"):
            assert verdict(findings(door, remote_ip, dmarc=failing("reject"))) is Verdict.ACCEPT
        assert verdict(findings(door, dmarc=failing("reject"))) is Verdict.REJECT
        spf = SpfResult(Result.PASS, BANK)
        assert verdict(findings(door, dmarc=failing("reject"), spf=spf)) is Verdict.ACCEPT


def test_a_trusted_seal_saves_forwarded_mail(door: Door) -> None:
    dmarc = failing("reject").overridden(OverrideKind.TRUSTED_FORWARDER, "none", "lists.example")
    found = findings(door, dmarc=dmarc)
    assert (verdict(found), found[0].score) == (Verdict.ACCEPT, 0)
    assert found[0].reason.endswith("but lists.example saw it pass and sealed it")


def test_what_cannot_be_checked_is_put_off_for_an_hour_in_all(door: Door) -> None:
    dmarc = DmarcResult(Result.TEMPERROR, BANK, "reject", BANK, "no answer in time")
    for _ in range(6):
        found = findings(door, dmarc=dmarc)
        assert verdict(found) is Verdict.DEFER
        assert found[0].reply is not None
        assert str(found[0].reply).startswith("451 4.7.24 ")
        door.clock.skip(600)
    found = findings(door, dmarc=dmarc)
    assert (verdict(found), found[0].score) == (Verdict.ACCEPT, 1.0)


def test_trouble_with_dns_is_held_against_nobody_else(door: Door) -> None:
    dmarc = DmarcResult(Result.TEMPERROR, BANK, "none", BANK)
    assert findings(door, dmarc=dmarc, spf=SpfResult(Result.TEMPERROR, BANK)) == []
    assert findings(door, dkim=[DkimResult(Result.TEMPERROR, BANK), DkimResult(Result.FAIL, BANK)]) == []


@pytest.mark.parametrize(
    ("spf", "score"),
    [
        (Result.FAIL, 2.0),
        (Result.SOFTFAIL, 1.0),
        (Result.PERMERROR, 0.5),
        (Result.NEUTRAL, 0),
        (Result.NONE, 0),
        (Result.PASS, 0),
        (Result.TEMPERROR, 0),
    ],
)
def test_spf_without_dmarc_is_a_score_and_never_a_refusal(door: Door, spf: Result, score: float) -> None:
    found = findings(door, spf=SpfResult(spf, BANK))
    assert verdict(found) is Verdict.ACCEPT
    assert sum(each.score for each in found) == score


def test_forwarded_mail_that_passes_by_its_signature_has_no_score_for_spf(door: Door) -> None:
    passed = DmarcResult(Result.PASS, BANK, "reject", BANK)
    signature = [DkimResult(Result.PASS, BANK), DkimResult(Result.FAIL, "list.example")]
    assert findings(door, dmarc=passed, spf=SpfResult(Result.FAIL, BANK), dkim=signature) == []


@pytest.mark.parametrize(
    ("results", "score"),
    [([], 0), ([Result.FAIL], 0.5), ([Result.PERMERROR], 0.5), ([Result.FAIL, Result.PASS], 0), ([Result.POLICY], 0.3)],
)
def test_a_broken_signature_is_a_small_score(door: Door, results: list[Result], score: float) -> None:
    found = findings(door, dkim=[DkimResult(each, BANK, reason="why") for each in results])
    assert sum(each.score for each in found) == score


def test_a_from_field_that_names_nobody_is_a_score(door: Door) -> None:
    found = findings(
        door, sender="", dmarc=DmarcResult(Result.PERMERROR, reason="the From field does not name one domain")
    )
    assert (verdict(found), found[0].score) == (Verdict.ACCEPT, 1.5)


@pytest.mark.parametrize(
    ("remote_ip", "spf", "dkim", "is_list", "score"),
    [
        ("192.0.2.7", SpfResult(Result.NONE), [], False, 6.5),
        ("192.0.2.7", SpfResult(Result.PASS, "evil.example"), [], False, 6.5),
        ("192.0.2.7", SpfResult(Result.PASS, "list.example"), [], True, 1.0),
        ("192.0.2.7", SpfResult(Result.PASS, "mail.example.org"), [], False, 0),
        ("192.0.2.7", SpfResult(Result.NEUTRAL), [DkimResult(Result.PASS, "example.org")], False, 0),
        ("192.0.2.7", SpfResult(Result.TEMPERROR), [], False, 0),
        ("192.0.2.7", SpfResult(Result.TEMPERROR, "example.org"), [], False, 0),
        ("192.0.2.7", SpfResult(Result.NONE), [DkimResult(Result.TEMPERROR, "mail.example.org")], False, 0),
        ("192.0.2.7", SpfResult(Result.TEMPERROR, "evil.example"), [], False, 6.5),
        ("192.0.2.7", SpfResult(Result.NONE), [DkimResult(Result.TEMPERROR, "evil.example")], False, 6.5),
        ("127.0.0.1", SpfResult(Result.NONE), [], False, 0),
    ],
)
def test_a_stranger_in_the_name_of_one_of_our_domains_is_junk(
    door: Door, remote_ip: str, spf: SpfResult, dkim: list[DkimResult], is_list: bool, score: float
) -> None:
    dmarc = DmarcResult(Result.NONE, "example.org", mailing_list=is_list)
    assert findings(door, remote_ip, dmarc=dmarc, spf=spf, dkim=dkim) == []
    door.directory.add_domain("example.org")
    assert sum(each.score for each in findings(door, remote_ip, dmarc=dmarc, spf=spf, dkim=dkim)) == score


def test_switched_off_checks_say_nothing(door: Door) -> None:
    assert run(SenderAuthentication(door.tools), door.facts()) == ()


@pytest.mark.parametrize(
    ("kind", "results", "score"),
    [
        ("generic", {}, 2.5),
        ("none", {}, 1.0),
        ("", {}, 0.0),
        ("none", {"spf": SpfResult(Result.FAIL, "x.example")}, 2.0),
        ("generic", {"spf": SpfResult(Result.FAIL, "x.example")}, 4.5),
        ("generic", {"spf": SpfResult(Result.PASS, "x.example")}, 0.0),
        ("generic", {"spf": SpfResult(Result.TEMPERROR)}, 0.0),
        ("generic", {"dkim": [DkimResult(Result.PASS, "x.example")]}, 0.0),
    ],
)
def test_what_neither_spf_nor_a_signature_nor_a_host_name_vouches_for_looks_bad(
    door: Door, kind: str, results: dict[str, Any], score: float
) -> None:
    facts = door.facts(message=message(**results))
    if kind:
        facts.findings.append(Finding("ptr", "the host name", 2.0, inputs={"kind": kind}))
    assert sum(each.score for each in run(SenderAuthentication(door.tools), facts)) == score
