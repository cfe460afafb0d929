from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.delivery.explaining import Decided, Explainer
from mailbox_app.delivery.mail import Filing
from mailbox_app.ids import AccountId
from mailbox_app.journal.explanations import Explanation
from mailbox_app.policy.facts import Facts, MessageFacts, RecipientFacts, Stage
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.replies import Reply
from tests.support.clock import FakeClock

OK = Reply(250, "2.0.0", "T1")
ALICE = Account(AccountId(7), "alice@example.org", AccountState.ACTIVE, 0, datetime(2026, 1, 1, tzinfo=UTC))


class Kept:
    def __init__(self) -> None:
        self.explanations: list[Explanation] = []

    def explain(self, explanation: Explanation) -> None:
        self.explanations.append(explanation)


def facts(**fields: object) -> Facts:
    block = b"Subject: hello\r\nMessage-ID: <1@x.example>\r\n\r\n"
    made = Facts("S1", "192.0.2.1", helo="x.example", sender="a@x.example", **fields)  # type: ignore[arg-type]
    made.recipients.append(RecipientFacts("Alice@example.org", "alice@example.org", [ALICE]))
    made.message = MessageFacts(block, Header.parse(block), b"", 100, "<1@x.example>", None)
    return made


def note(judgement: Judgement, reply: Reply, *filings: Filing, **more: object) -> Explanation:
    kept = Kept()
    Explainer(kept, FakeClock()).note(Decided(facts(), judgement, reply, filings, "T1", **more))  # type: ignore[arg-type]
    return kept.explanations[0]


def test_everything_known_is_in_the_record() -> None:
    findings = (
        Finding("ptr", "no confirmed name", 1.5, inputs={"name": ""}),
        Finding("bayes", "looks like junk", 4.0, account_id=AccountId(7)),
        Finding("url_lists", "listed", 3.0, Verdict.REJECT, advisory=True),
    )
    filing = Filing("alice@example.org", "stored", "Junk", "junk: score 5.5 of 5", ["line 1: keep"])
    record = note(Judgement(findings, 5.0, 12.0), OK, filing, queue_ids=["Q1"], duration_seconds=0.25)
    assert (record.outcome, record.code, record.text, record.stage) == ("junk", 250, "2.0.0 T1", "message")
    assert (record.sender, record.recipients, record.subject) == ("a@x.example", ["Alice@example.org"], "hello")
    assert [(said.check, said.score, said.verdict, said.account, said.advisory) for said in record.findings] == [
        ("ptr", 1.5, "accept", "", False),
        ("bayes", 4.0, "accept", "alice@example.org", False),
        ("url_lists", 3.0, "reject", "", True),
    ]
    assert record.score == 1.5  # what is common to all
    assert record.copies[0].steps == ["line 1: keep"]
    assert record.queue_ids == ["Q1"]


@pytest.mark.parametrize(
    ("reply", "verdict", "outcome"),
    [
        (OK, Verdict.ACCEPT, "accepted"),
        (OK, Verdict.JUNK, "junk"),
        (Reply(451, "4.7.1", "later"), Verdict.DEFER, "deferred"),
        (Reply(550, "5.7.1", "never"), Verdict.REJECT, "refused"),
    ],
)
def test_the_outcome_is_what_the_client_heard_and_where_it_went(reply: Reply, verdict: Verdict, outcome: str) -> None:
    assert note(Judgement([Finding("x", "y", verdict=verdict)]), reply).outcome == outcome


def test_a_refused_recipient_is_the_one_named() -> None:
    record = note(
        Judgement(), Reply(550, "5.1.1", "No such mailbox here"), stage=Stage.RECIPIENT, recipient="x@example.org"
    )
    assert (record.recipients, record.stage) == (["x@example.org"], "recipient")


def test_hostile_words_are_made_harmless_and_short() -> None:
    kept = Kept()
    seen = facts()
    seen.helo = "\udcff\x1b[2J" + "h" * 10_000
    seen.sender = "\udc80@x.example"
    finding = Finding("x", "\x1b]0;owned\x07" + "r" * 10_000, inputs={"name": "\u202e" * 10_000})
    Explainer(kept, FakeClock()).note(Decided(seen, Judgement([finding]), OK, [Filing("a\nb", "stored", "\x00")] * 3))
    text = msgspec.json.encode(kept.explanations[0]).decode()
    assert len(text) < 5_000
    assert not any(character in json.loads(text)["helo"] for character in "\x1b\udcff")
    assert "\\u001b" not in text
    assert "\u202e" not in text
