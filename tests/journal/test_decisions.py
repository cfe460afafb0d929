from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog.testing

from mailbox_app.errors import StoreError
from mailbox_app.journal import decisions as module
from mailbox_app.journal.decisions import Decisions
from mailbox_app.observe.mail_log import MailEvent
from tests.support.clock import FakeClock

EVENT = MailEvent(
    verb="accepted", direction="in", session_id="s1", queue_id="q1", sender="a@elsewhere.net",
    recipients=("b@example.org", "c@example.org"), message_id="<1@elsewhere.net>", size_bytes=10, remote="192.0.2.1",
    tls="TLSv1.3", code=250, text="2.0.0 q1", reason="", checks="spf=pass", duration_seconds=0.5,
)  # fmt: skip


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def decisions(tmp_path: Path, clock: FakeClock) -> Iterator[Decisions]:
    made = Decisions(tmp_path / "journal.db", clock)
    yield made
    made.close()


def event(**fields: object) -> MailEvent:
    return dataclasses.replace(EVENT, **fields)  # type: ignore[arg-type]


def test_an_event_that_cannot_be_written_does_not_end_the_journal(decisions: Decisions) -> None:
    with structlog.testing.capture_logs() as log:
        decisions.record(event(sender="\udcff is no text"))
        decisions._try_flush()
        assert [line["event"] for line in log] in (["decisions_lost"], [])  # the thread may have been quicker
        decisions.record(event(sender="good@elsewhere.net"))
        decisions._try_flush()
    assert [each.event.sender for each in decisions.recent(5)] == ["good@elsewhere.net"]


def test_an_event_comes_back_as_it_was(decisions: Decisions, clock: FakeClock) -> None:
    decisions.record(EVENT)
    decisions.record(event(recipients=(), session_id="s2"))
    decisions.flush()
    newest, first = decisions.recent(10)
    assert (first.event, first.at) == (EVENT, clock.now())
    assert newest.event.recipients == ()


@pytest.mark.parametrize("identifier", ["s1", "q1", "<1@elsewhere.net>"])
def test_events_are_found_by_every_id(decisions: Decisions, identifier: str) -> None:
    decisions.record(EVENT)
    decisions.record(event(session_id="", queue_id="", message_id=""))
    decisions.flush()
    assert [found.event for found in decisions.search(identifier)] == [EVENT]
    assert not decisions.search("")


def test_the_first_screen_is_not_told_of_mere_queueing(decisions: Decisions) -> None:
    decisions.record(event(verb="queued"))
    decisions.record(EVENT)
    decisions.flush()
    assert [found.event.verb for found in decisions.recent_results(5)] == ["accepted"]


def test_a_thread_writes_what_was_recorded(decisions: Decisions) -> None:
    for _ in range(600):
        decisions.record(EVENT)
    decisions.close()
    again = Decisions(Path(decisions._database.path))
    assert again.last_no() == 600
    again.close()


def test_a_buffer_that_runs_over_drops_the_oldest_and_counts_them(
    decisions: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_BUFFERED", 3)
    with decisions._write_lock:  # the disk is slow
        decisions._thread = module.threading.current_thread()
        for number in range(5):
            decisions.record(event(session_id=f"n{number}"))
    decisions._thread = None
    decisions.flush()
    assert decisions.dropped == 2
    assert [found.event.session_id for found in decisions.recent(9)] == ["n4", "n3", "n2"]


def test_counts_are_recipients_by_minute_and_kind(decisions: Decisions, clock: FakeClock) -> None:
    decisions.record(EVENT)
    decisions.record(event(recipients=()))
    clock.skip(60)
    decisions.record(event(verb="delivered", direction="out", recipients=("x@y.net",)))
    decisions.flush()
    minute = int(clock.epoch_seconds()) // 60
    found = {
        (each.minute, each.verb, each.direction): each.count
        for each in decisions.counts(0, 3, clock.now() - timedelta(hours=1))
    }
    assert found == {(minute - 1, "accepted", "in"): 3, (minute, "delivered", "out"): 1}
    assert not decisions.counts(3, 3, clock.now() - timedelta(hours=1))


def test_old_rows_are_forgotten(decisions: Decisions, clock: FakeClock) -> None:
    decisions.record(EVENT)
    decisions.flush()
    clock.skip(10)
    decisions.record(EVENT)
    decisions.flush()
    assert decisions.prune(clock.now()) == 1
    assert len(decisions.recent(5)) == 1


def test_a_disk_that_takes_nothing_is_told_once_and_does_not_hold_up_the_end(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Decisions(tmp_path / "journal.db", clock)

    def refuse(*_: object, **__: object) -> None:
        raise StoreError("store.full", "storage is not writable now", temporary=True)

    monkeypatch.setattr(made._database, "transaction", refuse)
    with structlog.testing.capture_logs() as lines:
        made.record(EVENT)
        for _ in range(3):
            made._try_flush()
        made.close()
    assert [line["event"] for line in lines] == ["decisions_not_written"]
    assert made.dropped == 0
