"""What an operator should know of the queue."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mailbox_app.mailqueue.model import Pause, QueueStats
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
