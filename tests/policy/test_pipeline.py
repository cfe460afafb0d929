"""Stages, modes, deadlines, allow lists; and the rule that the strictest verdict wins in whatever order checks speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.ids import AccountId
from mailbox_app.mailauth.results import Result, SpfResult
from mailbox_app.policy.check import Check, Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.pipeline import Pipeline
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from tests.support.policy import Bench, facts_of, passing

MESSAGE = b"From: Carol <carol@friend.example>\n\nHi.\n"


def check(
    name: str,
    *findings: Finding,
    stage: Stage = Stage.MESSAGE,
    mode: Mode = "enforce",
    safety: bool = False,
    strangers: bool = False,
) -> Callable[[Tools], Check]:
    check_name, check_stage = name, stage

    class Fixed:
        name: ClassVar[str] = check_name
        stage: ClassVar[Stage] = check_stage
        default_mode: ClassVar[Mode] = mode
        is_safety = safety
        is_about_strangers = strangers

        def __init__(self, _tools: Tools) -> None:
            pass

        async def run(self, facts: Facts) -> Sequence[Finding]:
            return findings

    return Fixed


class Broken:
    name: ClassVar[str] = "broken"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, _tools: Tools) -> None:
        pass

    async def run(self, facts: Facts) -> Sequence[Finding]:
        raise ValueError("a bug")


class Endless(Broken):
    name: ClassVar[str] = "endless"

    async def run(self, facts: Facts) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return [Finding("endless", "never", verdict=Verdict.REJECT)]


class Waiting(Broken):
    name: ClassVar[str] = "waiting"

    async def run(self, facts: Facts) -> Sequence[Finding]:
        await asyncio.sleep(0)
        return [Finding("waiting", "asked somebody", 1.0)]


class Quick(QuickCheck):
    """Says in which task it ran."""

    name: ClassVar[str] = "quick"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, _tools: Tools) -> None:
        pass

    async def run(self, facts: Facts) -> Sequence[Finding]:
        task = asyncio.current_task()
        return [Finding("quick", task.get_name() if task is not None else "", 1.0)]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(settings: str = "") -> Bench:
        made.append(Bench(tmp_path, settings))
        return made[-1]

    yield bench
    for each in made:
        each.close()


def judge(bench: Bench, facts: Facts, *makers: Callable[[Tools], Check], seconds: float = 5.0) -> Judgement:
    pipeline = Pipeline(bench.tools, [maker(bench.tools) for maker in makers])
    return asyncio.run(pipeline.message(facts, seconds))


def test_scores_add_up_to_junk_and_to_a_refusal_where_the_configuration_says_so(make: Callable[..., Bench]) -> None:
    bench = make("[policy]\njunk_score = 3.0\nreject_score = 6.0\n")
    two, five = check("two", Finding("two", "", 2.0)), check("five", Finding("five", "", 5.0))
    assert judge(bench, facts_of(MESSAGE), two).verdict() is Verdict.ACCEPT
    assert judge(bench, facts_of(MESSAGE), two, two).verdict() is Verdict.JUNK
    assert judge(bench, facts_of(MESSAGE), two, five).verdict() is Verdict.REJECT


def test_a_check_that_breaks_or_is_late_costs_nothing_and_is_recorded(make: Callable[..., Bench]) -> None:
    judgement = judge(
        make(), facts_of(MESSAGE), Broken, Endless, check("good", Finding("good", "fine", -1.0)), seconds=0.0
    )
    assert judgement.verdict() is Verdict.ACCEPT
    assert judgement.score() == -1.0
    reasons = {finding.check: finding.reason for finding in judgement.findings}
    assert reasons == {"broken": "could not be made", "endless": "could not be made in time", "good": "fine"}


def test_modes_come_from_the_configuration_and_advice_is_recorded_without_a_say(make: Callable[..., Bench]) -> None:
    bench = make('[policy.checks]\noff = "off"\nadvice = "advisory"\ntold = "enforce"\n')
    no = [check(name, Finding(name, "no", 9.0, Verdict.REJECT)) for name in ("off", "advice")]
    told = check("told", Finding("told", "junk", 6.0), mode="off")
    judgement = judge(bench, facts_of(MESSAGE), *no, told)
    assert [(finding.check, finding.advisory) for finding in judgement.findings] == [("advice", True), ("told", False)]
    assert judgement.verdict() is Verdict.JUNK


def test_what_earlier_stages_found_counts_at_the_end(make: Callable[..., Bench]) -> None:
    facts = facts_of(MESSAGE)
    facts.findings = [Finding("early_talker", "talked", 3.0)]
    assert judge(make(), facts, check("more", Finding("more", "", 2.5))).score() == 5.5


def test_trusted_and_allowed_clients_pass_the_stages_before_the_message(make: Callable[..., Bench]) -> None:
    bench = make('[policy]\ntrusted_networks = ["198.51.100.0/24"]\nallow = ["203.0.113.7"]\n')
    never = check("never", Finding("never", "", verdict=Verdict.REJECT), stage=Stage.CONNECT)
    pipeline = Pipeline(bench.tools, [never(bench.tools)])
    for remote_ip, verdict in (
        ("127.0.0.1", Verdict.ACCEPT),
        ("::1", Verdict.ACCEPT),
        ("::ffff:198.51.100.9", Verdict.ACCEPT),
        ("203.0.113.7", Verdict.ACCEPT),
        ("203.0.113.8", Verdict.REJECT),
    ):
        assert asyncio.run(pipeline.connect(Facts("s", remote_ip))).verdict() is verdict, remote_ip


def test_an_allowed_sender_passes_unless_somebody_else_uses_the_name(make: Callable[..., Bench]) -> None:
    bench = make('[policy]\nallow = ["friend.example", "boss@other.example"]\n')
    junk = check("junk", Finding("junk", "", 9.0))
    proven = facts_of(MESSAGE, auth=passing("friend.example"))
    judgement = judge(bench, proven, junk)
    assert (judgement.verdict(), judgement.findings[0].check) == (Verdict.ACCEPT, "allow_list")
    assert judge(bench, facts_of(MESSAGE, auth=passing()), junk).verdict() is Verdict.JUNK  # anybody can write a From
    for spf, verdict in ((Result.NONE, Verdict.ACCEPT), (Result.FAIL, Verdict.JUNK)):
        facts = facts_of(b"From: x@y.example\n\n", auth=passing())
        assert facts.message is not None
        assert facts.message.auth is not None
        object.__setattr__(facts.message.auth, "spf", SpfResult(spf))
        facts.sender = "boss@other.example"
        assert judge(bench, facts, junk).verdict() is verdict


def test_what_harms_is_looked_for_in_allowed_mail_too(make: Callable[..., Bench]) -> None:
    bench = make('[policy]\nallow = ["192.0.2.0/24"]\n')
    virus = check("virus", Finding("virus", "found", verdict=Verdict.REJECT), safety=True)
    assert judge(bench, facts_of(MESSAGE), virus).verdict() is Verdict.REJECT


findings = st.lists(
    st.builds(
        Finding,
        check=st.sampled_from(["a", "b", "c"]),
        reason=st.just("why"),
        score=st.floats(-20, 20).map(lambda number: round(number, 2)),
        verdict=st.sampled_from(Verdict),
        account_id=st.sampled_from([None, AccountId(1), AccountId(2)]),
        advisory=st.booleans(),
    ),
    max_size=8,
)


@given(findings, st.randoms(use_true_random=False), st.floats(0, 10))
def test_the_strictest_wins_in_any_order_and_advice_never_counts(
    said: list[Finding], random: object, reject_score: float
) -> None:
    mixed = list(said)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    first, second = Judgement(said, 5.0, reject_score), Judgement(mixed, 5.0, reject_score)
    for account_id in (None, AccountId(1), AccountId(2)):
        assert first.score(account_id) == pytest.approx(second.score(account_id), abs=0.002)
        own = [each for each in said if not each.advisory and each.account_id in (None, account_id)]
        assert first.verdict(account_id) >= max((each.verdict for each in own), default=Verdict.ACCEPT)
        without_advice = Judgement([each for each in said if not each.advisory], 5.0, reject_score)
        assert first.verdict(account_id) is without_advice.verdict(account_id)
        if account_id is not None and not any(each.account_id == account_id for each in said):
            assert first.verdict(account_id) is first.verdict()


@pytest.mark.parametrize(("client", "score"), [("127.0.0.1", 1.0), ("192.0.2.99", 1.0), ("198.51.100.1", 3.0)])
async def test_a_short_header_from_our_own_programs_is_no_fault(
    make: Callable[..., Bench], client: str, score: float
) -> None:
    bench = make('[policy]\ntrusted_networks = ["192.0.2.0/24"]\n')
    checks = (
        check("bayes", Finding("bayes", "somewhat", 1.0)),
        check("header_form", Finding("header_form", "no Date", 2.0), strangers=True),
    )
    pipeline = Pipeline(bench.tools, [make_check(bench.tools) for make_check in checks])
    assert (await pipeline.message(facts_of(MESSAGE, remote_ip=client))).score() == score


def test_quick_checks_need_no_task_and_all_speak_in_their_order(make: Callable[..., Bench]) -> None:
    bench = make()
    pipeline = Pipeline(bench.tools, [each(bench.tools) for each in (Waiting, Quick, Endless, Broken, Waiting)])
    facts = facts_of(MESSAGE)

    async def judged() -> tuple[Judgement, str]:
        task = asyncio.current_task()
        assert task is not None
        return await pipeline.message(facts, 0.05), task.get_name()

    judgement, own_task = asyncio.run(judged())
    assert [each.check for each in judgement.findings] == ["waiting", "quick", "endless", "broken", "waiting"]
    assert judgement.findings[1].reason == own_task
    assert judgement.findings[2].reason == "could not be made in time"
    assert judgement.score() == 3.0
