"""What is counted for reports to others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.policy.state import dmarc_rows
from mailbox_app.policy.state.dmarc_rows import SqliteDmarcRows
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, Sent
from mailbox_app.proto.dmarc_report import Published, Row, SpfLine
from tests.support.clock import FakeClock

POLICY = Published("a.example", "reject", "reject", discovery="treewalk")
ROW = Row("192.0.2.1", 1, "reject", "fail", "fail", "a.example", spf_results=(SpfLine("a.example", "fail"),))
ADDRESSES = ("mailto:dmarc@a.example",)
CLOCK = FakeClock()
TODAY = int(CLOCK.epoch_seconds() // DAY_SECONDS)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rows(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteDmarcRows]:
    made = SqliteDmarcRows(tmp_path / "reports.db", clock)
    yield made
    made.close()


def counts(rows: SqliteDmarcRows, domain: str = "a.example", day: int = TODAY) -> dict[str, int]:
    found = rows.gathered(day, domain)
    return {} if found is None else {row.source_ip: row.count for row in found.rows}


def test_processes_count_together(tmp_path: Path, rows: SqliteDmarcRows, clock: FakeClock) -> None:
    other = SqliteDmarcRows(tmp_path / "reports.db", clock)
    for each in (rows, rows, other):
        each.note(POLICY, ADDRESSES, ROW)
    other.note(POLICY, ADDRESSES, replace(ROW, source_ip="192.0.2.2"))
    rows.sync()
    other.close()
    assert counts(rows) == {"192.0.2.1": 3, "192.0.2.2": 1}
    found = rows.gathered(TODAY, "a.example")
    assert found is not None
    assert (found.published, list(found.addresses), found.unlisted) == (POLICY, list(ADDRESSES), 0)


def test_a_day_is_reported_when_it_is_over_with_the_policy_seen_last(rows: SqliteDmarcRows, clock: FakeClock) -> None:
    rows.note(POLICY, ADDRESSES, ROW)
    rows.sync()
    rows.note(replace(POLICY, policy="none"), (), ROW)
    rows.sync()
    assert rows.waiting(TODAY, 10) == []
    clock.skip(DAY_SECONDS)
    rows.note(POLICY, ADDRESSES, ROW)
    rows.sync()
    assert rows.waiting(TODAY + 1, 10) == [(TODAY, "a.example")]
    found = rows.gathered(TODAY, "a.example")
    assert found is not None
    assert found.published.policy == "none"
    assert counts(rows) == {"192.0.2.1": 2}
    rows.settle(TODAY, "a.example")
    assert rows.waiting(TODAY + 1, 10) == []
    assert counts(rows, day=TODAY + 1) == {"192.0.2.1": 1}


def test_what_is_beyond_the_bounds_is_only_counted(rows: SqliteDmarcRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_rows, "MAX_ROWS", 2)
    monkeypatch.setattr(dmarc_rows, "MAX_DOMAINS", 2)
    for number in range(5):
        rows.note(POLICY, ADDRESSES, replace(ROW, source_ip=f"192.0.2.{number}"))
    rows.sync()
    rows.note(POLICY, ADDRESSES, replace(ROW, source_ip="192.0.2.9"))
    rows.note(POLICY, ADDRESSES, replace(ROW, source_ip="192.0.2.0"))
    for name in ("b.example", "c.example"):
        rows.note(replace(POLICY, domain=name), ADDRESSES, ROW)
    rows.sync()
    assert counts(rows) == {"192.0.2.0": 2, "192.0.2.1": 1}
    found = rows.gathered(TODAY, "a.example")
    assert found is not None
    assert found.unlisted == 4
    assert [domain for _, domain in rows.waiting(TODAY + 1, 10)] == ["a.example", "b.example"]


def test_trouble_with_the_file_loses_no_counts(tmp_path: Path, rows: SqliteDmarcRows) -> None:
    rows.note(POLICY, ADDRESSES, ROW)
    holder = sqlite3.connect(tmp_path / "reports.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    rows.sync()
    rows.note(POLICY, ADDRESSES, ROW)
    rows.sync()
    holder.execute("ROLLBACK")
    holder.close()
    rows.sync()
    assert counts(rows) == {"192.0.2.1": 2}


def test_who_was_served_is_remembered(rows: SqliteDmarcRows, clock: FakeClock) -> None:
    now = clock.epoch_seconds()
    rows.note_sent(Sent(TODAY, "a.example", "d@a.example", now, "queued", 3))
    rows.note_sent(Sent(TODAY, "a.example", "e@b.example", now, "no", 3))
    rows.note_sent(Sent(TODAY, "a.example", "d@a.example", now + 1, "queued", 3))
    assert rows.sent_to(TODAY, "a.example") == {"d@a.example", "e@b.example"}
    assert rows.sent_count(now) == 1
    assert len(rows.sent("a.example", 0, 10)) == 2
    assert rows.sent("b.example", 0, 10) == []
    rows.forget_sent(now + 5)
    assert rows.sent("", 0, 10) == []
