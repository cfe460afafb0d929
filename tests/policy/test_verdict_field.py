"""The field that tells why: safe whatever strangers wrote, bounded, readable again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.ids import AccountId
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.policy.verdict_field import compose_verdict, read_verdict
from mailbox_app.proto.header import Header


def test_it_names_verdict_score_and_reasons() -> None:
    judgement = Judgement((Finding("dnsbl", "listed by zen.example", 4.0), Finding("ptr", "no name", 1.5)))
    assert compose_verdict(judgement) == (
        b"X-Mailbox-Verdict: junk; score=5.5 required=5;\r\n\tchecks=dnsbl=4 (listed by zen.example), ptr=1.5 (no name)\r\n"
    )
    assert compose_verdict(Judgement()) == b"X-Mailbox-Verdict: accept; score=0 required=5;\r\n\tchecks=none\r\n"


def test_what_holds_for_one_person_is_told_to_nobody_else() -> None:
    judgement = Judgement((Finding("bayes", "like your junk", 6.0, account_id=AccountId(3)),))
    assert b"bayes" not in compose_verdict(judgement)
    assert compose_verdict(judgement, AccountId(3)).startswith(b"X-Mailbox-Verdict: junk; score=6 ")


@given(st.lists(st.tuples(st.text(max_size=300), st.floats(-99, 99).map(lambda score: round(score, 1))), max_size=40))
def test_it_is_one_safe_field_of_bounded_size_whatever_the_reasons(said: list[tuple[str, float]]) -> None:
    judgement = Judgement(tuple(Finding("check", reason, score) for reason, score in said))
    field = compose_verdict(judgement)
    assert field.endswith(b"\r\n")
    assert len(field) < 3_500
    lines = field[:-2].split(b"\r\n")
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert all(len(line) <= 200 and set(line) <= {9, *range(32, 127)} for line in lines)
    header = Header.parse(field + b"Subject: x\r\n\r\n")
    assert [each.key for each in header.fields] == [b"x-mailbox-verdict", b"subject"]
    verdict = Verdict.JUNK if judgement.is_junk() else Verdict.ACCEPT
    assert read_verdict(header) == (verdict, float(f"{judgement.score():g}"))
