from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.journal.audit import Audit, AuditFilter, Change
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def audit(tmp_path: Path, clock: FakeClock) -> Iterator[Audit]:
    made = Audit(tmp_path / "journal.db", clock)
    yield made
    made.close()


def fill(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.append(Change("root", 0, "cli", "user.add", f"user{number}@example.org", after='{"quota_bytes":0}'))


def tamper(tmp_path: Path, statement: str) -> None:
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_untouched_chain_verifies(audit: Audit) -> None:
    assert audit.verify().broken_at is None
    fill(audit, 5)
    found = audit.verify()
    assert (found.count, found.broken_at, audit.verified_to, audit.head()) == (5, None, 5, 5)


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("UPDATE audit SET object = 'x' WHERE no = 3", 3),
        ("UPDATE audit SET at_seconds = at_seconds + 1 WHERE no = 1", 1),
        ("UPDATE audit SET result = 'failed' WHERE no = 5", 5),
        ("DELETE FROM audit WHERE no = 2", 2),
        ("DELETE FROM audit WHERE no = 5", 5),
        ("DELETE FROM audit WHERE no > 2", 3),
        ("DELETE FROM audit", 1),
        ("UPDATE audit_head SET count = 4", 5),
        ("DELETE FROM audit_head", 1),
        (("INSERT INTO audit SELECT 6, at_seconds, who, uid, via, what, object, detail, before, after, result, hash"
          " FROM audit WHERE no = 5"), 6),
        ("UPDATE audit SET hash = x'00' WHERE no = 4", 4),
    ],
)  # fmt: skip
def test_verification_names_the_first_entry_that_is_not_what_was_written(
    tmp_path: Path, audit: Audit, statement: str, broken_at: int
) -> None:
    fill(audit, 5)
    tamper(tmp_path, statement)
    assert audit.verify().broken_at == broken_at


def test_two_entries_swapped_are_found(tmp_path: Path, audit: Audit) -> None:
    fill(audit, 4)
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tamper(tmp_path, f"UPDATE audit SET no = {new} WHERE no = {old}")
    assert audit.verify().broken_at == 2


def test_an_entry_keeps_all_it_was_given(audit: Audit, clock: FakeClock) -> None:
    change = Change("anna", 1000, "console", "queue.apply", "1a", "drop", '{"a":1}', '{"a":2}', "ok")
    number = audit.append(change)
    entry = audit.entry(number)
    assert entry is not None
    assert (entry.no, entry.at, entry.change) == (1, clock.now(), change)
    assert audit.entry(2) is None


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (lambda now: AuditFilter(), [4, 3, 2, 1]),
        (lambda now: AuditFilter(who="anna"), [4]),
        (lambda now: AuditFilter(what="user"), [3, 1]),
        (lambda now: AuditFilter(what="user.add"), [1]),
        (lambda now: AuditFilter(what="use"), []),
        (lambda now: AuditFilter(text="50%"), [3]),
        (lambda now: AuditFilter(text="_"), []),
        (lambda now: AuditFilter(since_at=now), [4]),
    ],
)
def test_entries_are_found_newest_first(
    audit: Audit, clock: FakeClock, where: Callable[[object], AuditFilter], numbers: list[int]
) -> None:
    audit.append(Change("root", 0, "cli", "user.add", "a@example.org"))
    audit.append(Change("root", 0, "cli", "domain.add", "example.org"))
    audit.append(Change("root", 0, "cli", "user.quota", "a@example.org", detail="to 50%"))
    clock.skip(60)
    audit.append(Change("anna", 1, "console", "alias.add", "b@example.org"))
    total, entries = audit.list(where(clock.now() - timedelta(seconds=1)), 0, 10)
    assert [entry.no for entry in entries] == numbers
    assert total == len(numbers)


def test_pages_do_not_overlap(audit: Audit) -> None:
    fill(audit, 7)
    pages = [audit.list(AuditFilter(), offset, 3)[1] for offset in (0, 3, 6)]
    assert [entry.no for page in pages for entry in page] == [7, 6, 5, 4, 3, 2, 1]


def test_the_chain_goes_on_after_a_restart(tmp_path: Path, audit: Audit, clock: FakeClock) -> None:
    fill(audit, 2)
    audit.close()
    again = Audit(tmp_path / "journal.db", clock)
    fill(again, 2)
    assert (again.verify().count, again.verify().broken_at) == (4, None)
    again.close()
