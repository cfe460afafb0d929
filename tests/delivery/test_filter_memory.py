"""What filters remember, and what a file in trouble means: nothing is lost, nobody is answered twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from mailbox_app.db.state_schema import open_state
from mailbox_app.delivery.filter_memory import FilterMemory
from mailbox_app.ids import AccountId
from tests.support.clock import FakeClock

ALICE = AccountId(1)


def test_a_share_is_taken_whole_or_not_and_is_new_each_day(tmp_path: Path) -> None:
    clock = FakeClock()
    file = open_state(tmp_path / "state.db")
    memory = FilterMemory(file, clock)
    assert memory.may_send(ALICE, "answer", 3, 2)
    assert not memory.may_send(ALICE, "answer", 3, 2)
    assert memory.may_send(ALICE, "answer", 3)
    assert memory.may_send(ALICE, "redirect", 3)
    clock.skip(86_400)
    assert memory.may_send(ALICE, "answer", 3, 3)
    file.close()


def test_a_locked_file_stops_answers_and_no_mail(tmp_path: Path) -> None:
    file = open_state(tmp_path / "state.db")
    memory = FilterMemory(file, FakeClock())
    assert memory.claim(ALICE, "vacation", "carol", 60)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert memory.may_send(ALICE, "redirect", 10), "a redirected copy is somebody's mail"
    assert not memory.may_send(ALICE, "answer", 10)
    assert not memory.claim(ALICE, "vacation", "dave", 60)
    assert not memory.seen(ALICE, "duplicate", "x")
    memory.remember(ALICE, "duplicate", [("x", 60.0)])
    other.execute("ROLLBACK")
    other.close()
    assert not memory.seen(ALICE, "duplicate", "x")
    assert memory.seen(ALICE, "vacation", "carol")
    file.close()
