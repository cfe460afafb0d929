"""What an operator should know of the queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailbox_app.mailqueue.model import HoldRule, Pause, QueueStats
from mailbox_app.mailqueue.problems import queue_problems

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
WELL = QueueStats(14, 9, 14, 0, 0, 0, NOW - timedelta(hours=6))


@pytest.mark.parametrize(
    ("stats", "pauses", "told"),
    [
        (WELL, (), []),
        (replace(WELL, oldest_at=None), (), []),
        (replace(WELL, late=2), (), [("WARN", "2 queued recipients are late")]),
        (replace(WELL, held=1), (), [("info", "1 queued recipient is held until somebody releases them")]),
        (
            replace(WELL, oldest_at=NOW - timedelta(days=3)),
            (),
            [("WARN", "The oldest message has been waiting for 3 days")],
        ),
        (
            replace(WELL, quarantined=1, held=2),
            (),
            [
                ("WARN", "1 message recipient waits in quarantine, unreadable: mailbox queue quarantine"),
                ("info", "2 queued recipients are held until somebody releases them"),
            ],
        ),
        (
            replace(WELL, late=5),
            (Pause("", "", NOW), Pause("a.example", "", NOW), Pause("b.example", "", NOW)),
            [
                ("BAD!", "All delivery is paused, mail only waits: mailbox queue resume"),
                ("WARN", "Delivery to a.example and 1 more is paused"),
            ],
        ),
    ],
)
def test_each_problem_has_its_sentence(stats: QueueStats, pauses: list[Pause], told: list[tuple[str, str]]) -> None:
    assert queue_problems(stats, pauses, NOW) == told


def test_accounts_whose_mail_is_held_are_named_braked_ones_first() -> None:
    rules = [
        HoldRule(1, submitter="bob@example.org", reason="suspended by root"),
        HoldRule(2, submitter="carl@example.org", sender="carl@lists.example"),
        HoldRule(3, recipient="@slow.example"),
        HoldRule(4, submitter="@shop.example"),
        HoldRule(5, submitter="anna@example.org", reason="brake: anna@example.org wrote to 200 recipients"),
    ]
    assert queue_problems(WELL, (), NOW, rules) == [
        (
            "WARN",
            ("All mail of anna@example.org is held, it wrote to 200 recipients: mailbox user resume anna@example.org"),
        ),
        ("info", "All mail of bob@example.org is held, suspended by root: mailbox user resume bob@example.org"),
    ]


def test_many_held_accounts_are_a_number() -> None:
    rules = [HoldRule(number, submitter=f"u{number}@example.org") for number in range(5)]
    told = queue_problems(WELL, (), NOW, rules)
    assert len(told) == 4
    assert told[-1] == ("info", "All mail of 2 more accounts is held: mailbox user list")
