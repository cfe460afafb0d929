"""Headers that honest programs do not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.policy.checks.header_form import HeaderForm
from mailbox_app.policy.checks.loop import Loop
from mailbox_app.policy.verdict import Verdict
from tests.support.policy import Bench, account, facts_of, passing

GOOD = b"From: Alice <a@example.com>\nDate: Mon, 05 Jan 2026 09:00:00 +0000\nMessage-ID: <1@example.com>\nSubject: x\n"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def reasons(bench: Bench, header: bytes, *, vouched: bool = False) -> list[str]:
    auth = passing("example.com") if vouched else passing()
    return [each.reason for each in bench.run(HeaderForm, facts_of(header + b"\nbody\n", auth=auth))]


def test_well_formed_mail_costs_nothing(bench: Bench) -> None:
    assert reasons(bench, GOOD) == []


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (GOOD.replace(b"From:", b"X-From:"), "has no From field"),
        (GOOD + b"From: b@example.com\n", "has more than one from field"),
        (GOOD.replace(b"Message-ID", b"X-Id"), "has no Message-ID"),
        (GOOD.replace(b"Date", b"X-Date"), "has no Date"),
        (GOOD.replace(b"Mon, 05 Jan 2026", b"yesterday"), "has a Date that is none"),
        (GOOD.replace(b"05 Jan 2026", b"15 Jan 2026"), "is dated in the future"),
        (GOOD.replace(b"05 Jan 2026", b"05 Jun 2025"), "is dated more than a month ago"),
        (GOOD + b"X-A: \0\n", "has a NUL in the header"),
        (GOOD + b"X-A: \xe4\n", "has raw 8-bit characters in the header that are no UTF-8"),
        (GOOD + b"this is no field\n", "has lines in the header that are no fields"),
        (GOOD + b"X-A: b\n" * 301, "has 305 header fields"),
        (GOOD.replace(b"Alice", b'"support@bank.com"'), "the sender's name shows an address at bank.com"),
        (GOOD + b"Reply-To: c@example.net\n", "answers go to example.net, and nothing vouches for the sender"),
    ],
)
def test_a_fault_is_named(bench: Bench, header: bytes, reason: str) -> None:
    assert reasons(bench, header) == [reason]


def test_utf8_in_a_header_is_no_fault(bench: Bench) -> None:
    assert reasons(bench, GOOD + "X-A: \u00e4\n".encode()) == []


def test_answers_may_go_elsewhere_when_the_domain_vouches(bench: Bench) -> None:
    assert reasons(bench, GOOD + b"Reply-To: c@example.net\n", vouched=True) == []


def test_an_address_of_the_same_organisation_may_be_shown(bench: Bench) -> None:
    assert reasons(bench, GOOD.replace(b"Alice", b'"help@mail.example.com"')) == []


def test_very_many_parts_cost_three(bench: Bench) -> None:
    body = GOOD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 400
    assert [each.score for each in bench.run(HeaderForm, facts_of(body))] == [3.0]


def test_malformed_mail_is_refused_only_where_the_configuration_says_so(bench: Bench) -> None:
    facts = facts_of(GOOD + b"From: b@example.com\n\nbody\n")
    assert all(each.verdict is Verdict.ACCEPT for each in bench.run(HeaderForm, facts))
    bench.config = Bench.settings("[junk]\nrefuse_malformed = true\n")
    assert bench.run(HeaderForm, facts)[-1].verdict is Verdict.REJECT


@pytest.mark.parametrize(("passes", "count"), [(0, 0), (2, 0), (3, 1), (10, 1)])
def test_a_message_that_passed_three_times_is_a_loop(bench: Bench, passes: int, count: int) -> None:
    received = (
        b"Received: from x ([192.0.2.1])\n\tby mail.example.org with ESMTP id 1; Mon, 05 Jan 2026 09:00:00 +0000\n"
    )
    found = bench.run(Loop, facts_of(received * passes + GOOD + b"\nbody\n"))
    assert [each.verdict for each in found] == [Verdict.REJECT] * count


@pytest.mark.parametrize(
    ("received", "delivered", "count"),
    [
        (b"mail.example.org", b"user1@example.org", 1),
        (b"mail.example.org.evil.example", b"user1@example.org", 0),
        (b"mail.example.org", b"other@example.org", 0),
    ],
)
def test_a_second_delivery_to_the_same_recipient_is_a_loop(
    bench: Bench, received: bytes, delivered: bytes, count: int
) -> None:
    raw = b"Received: from x by %b; x\nDelivered-To: %b\n" % (received, delivered) + GOOD + b"\nbody\n"
    assert len(bench.run(Loop, facts_of(raw, accounts=[account(1)]))) == count
