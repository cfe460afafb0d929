"""The runner with a real queue and transports made of plain functions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, Priority, RecipientState, Settlement
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.schedule import Schedule
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus, outcome, put

Answer = Callable[[Lease], Awaitable[Sequence[Outcome]]]


@dataclass
class Script:
    """A transport: `fate` for everybody, or whatever `answer` says."""

    fate: Fate = Fate.DELIVERED
    answer: Answer | None = None
    leases: list[Lease] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        self.leases.append(lease)
        self.texts.append(Path(lease.spool_path).read_bytes().decode())  # noqa: ASYNC240
        if self.answer is not None:
            return await self.answer(lease)
        return [outcome(one.address, self.fate) for one in lease.message.recipients]


class House:
    """Queue, runner and what they tell."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = FakeClock()
        self.bus = RecordingBus()
        self.spool = Spool(tmp_path / "queue")
        self.queue = SqliteQueue(tmp_path / "queue.db", self.spool, self.bus, self.clock)
        self.smtp, self.local = Script(), Script()
        self.metrics = Metrics()
        self.events: list[MailEvent] = []
        self.offload = Offload(4)
        self.tasks: list[asyncio.Task[None]] = []

    def runner(self, **options: Any) -> QueueRunner:
        bounces = Bounces(self.queue, self.spool, lambda domain: domain == "here.example", "here.example", self.clock)
        return QueueRunner(
            self.queue,
            {"smtp": self.smtp, "local": self.local},
            bounces,
            offload=self.offload,
            clock=self.clock,
            bus=self.bus,
            mail_log=MailLog([self.events.append, self.metrics.count_mail]),
            metrics=self.metrics,
            chance=lambda: 0.5,
            **options,
        )

    def start(self, **options: Any) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(self.runner(**options).run()))
        return self.tasks[-1]

    def put(self, *recipients: str, **rest: object) -> QueueId:
        return put(self.queue, self.spool, self.clock.now(), recipients or ("bob@there.example",), **rest)  # type: ignore[arg-type]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the work is done in threads
                await asyncio.sleep(0.002)

    async def until_empty(self) -> None:
        await self.until(lambda: self.queue.stats(self.clock.now()).recipients == 0)

    def verbs(self) -> list[str]:
        return [event.verb for event in self.events]

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"mailserver_{name}") or 0.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    made.offload.close()
    made.queue.close()


async def test_what_is_queued_is_delivered_by_its_transport_and_told(house: House) -> None:
    house.start()
    house.put("bob@there.example", "carol@there.example")
    await house.until(lambda: len(house.events) == 2)
    assert len(house.smtp.leases) == 1
    event = house.events[0]
    assert (event.verb, event.direction, event.sender, event.code, event.tls) == (
        "delivered", "out", "alice@here.example", 250, "TLSv1.3",
    )  # fmt: skip
    assert house.value("messages_sent_total") == 2
    assert house.value("delivery_duration_seconds_count") == 2
    await house.until_empty()


async def test_what_was_queued_before_the_start_is_delivered(house: House) -> None:
    house.put()
    house.start()
    await house.until_empty()


async def test_a_deferred_recipient_is_tried_again_at_its_time(house: House) -> None:
    house.smtp.fate = Fate.DEFERRED
    house.start()
    queue_id = house.put()
    await house.until(lambda: house.events)
    assert house.verbs() == ["attempt"]
    assert house.value("delivery_retries_total") == 1
    assert house.queue.message(queue_id).recipients[0].next_at == house.clock.now() + timedelta(minutes=5)
    house.smtp.fate = Fate.DELIVERED
    await house.clock.advance(299)
    assert len(house.smtp.leases) == 1
    for _ in range(40):  # a poll may come first; the time itself is the queue's
        await house.clock.advance(1)
        await asyncio.sleep(0.002)
    await house.until(lambda: len(house.events) == 2)
    assert house.verbs() == ["attempt", "delivered"]


async def test_refused_recipients_are_reported_though_others_were_accepted(house: House) -> None:  # D5
    async def mixed(lease: Lease) -> Sequence[Outcome]:
        return [
            outcome(one.address, Fate.FAILED if one.address.startswith("no") else Fate.DELIVERED)
            for one in lease.message.recipients
        ]

    house.smtp.answer = mixed
    house.start()
    house.put("ok@there.example", "no1@there.example", "no2@there.example")
    await house.until(lambda: house.local.leases)
    [report] = house.local.leases
    assert report.message.envelope.sender == ""
    assert [one.address for one in report.message.recipients] == ["alice@here.example"]
    await house.until(lambda: len(house.events) == 5)
    assert sorted(house.verbs()) == ["delivered", "delivered", "failed", "failed", "queued"]
    assert house.value("messages_bounced_total") == 2
    assert house.value("messages_queued_total") == 1


@pytest.mark.parametrize("fate", [Fate.FAILED, Fate.LOOP])
async def test_two_destinations_share_a_file_that_stays_until_the_last_is_done(house: House, fate: Fate) -> None:  # D4
    async def by_domain(lease: Lease) -> Sequence[Outcome]:
        assert Path(lease.spool_path).exists()  # noqa: ASYNC240
        first = lease.message.recipients[0]
        return [outcome(first.address, fate if first.destination == "one.example" else Fate.DEFERRED)]

    house.smtp.answer = by_domain
    house.start()
    queue_id = house.put("a@one.example", "b@two.example")
    await house.until(lambda: {"failed", "attempt"} <= set(house.verbs()) and house.local.leases)
    [rest] = house.queue.message(queue_id).recipients
    assert rest.address == "b@two.example"
    assert house.queue.header(queue_id)


async def live_through(house: House, days: int) -> None:
    """Let the clock run until the queue has nothing more to say."""
    for _ in range(days * 24 * 6):
        if house.local.leases:
            return
        due_at = house.queue.next_due_at()
        ahead = (due_at - house.clock.now()).total_seconds() if due_at else 600.0
        house.clock.skip(max(ahead, 0.0))
        tries = len(house.smtp.leases)
        house.bus.publish("queue")
        await house.until(lambda tries=tries: len(house.smtp.leases) > tries or house.local.leases)  # type: ignore[misc]
        await house.until(lambda: house.queue.stats(house.clock.now()).active == 0)


async def test_a_message_that_never_gets_through_is_tried_for_a_week_then_reported(house: House) -> None:  # D6
    house.smtp.fate = Fate.DEFERRED
    started = house.clock.now()
    house.start()
    house.put()
    await live_through(house, 8)
    assert len(house.smtp.leases) in (14, 15)
    assert house.clock.now() < started + timedelta(days=7, hours=12)
    assert house.clock.now() > started + timedelta(days=6)
    await house.until(lambda: house.local.texts and "failed" in house.verbs())
    assert "the last answer was: deferred" in " ".join(house.local.texts[0].split())
    assert "Status: 4.4.7" in house.local.texts[0]
    assert house.verbs().count("failed") == 1


async def test_an_operators_schedule_decides_when_it_is_given_up(house: House) -> None:
    house.smtp.fate = Fate.DEFERRED
    started = house.clock.now()
    house.start(schedule=lambda: Schedule((600,), 3))
    house.put()
    await live_through(house, 1)
    await house.until(lambda: house.local.texts)
    assert len(house.smtp.leases) == 3
    assert "Diagnostic-Code: smtp; 451 deferred\r\n" in house.local.texts[0]
    assert house.clock.now() - started < timedelta(days=2)


async def test_mail_that_expired_while_the_server_was_off_is_reported(house: House) -> None:  # D6
    house.smtp.fate = Fate.DEFERRED
    task = house.start()
    house.put()
    await house.until(lambda: house.events)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    house.clock.skip(9 * 86_400)
    house.start()
    await house.until(lambda: house.local.leases)
    assert len(house.smtp.leases) == 1
    await house.until_empty()


async def test_mail_that_was_passed_over_last_is_tried_once_more_although_its_time_is_over(house: House) -> None:
    house.smtp.fate = Fate.DEFERRED
    task = house.start()
    queue_id = house.put()
    await house.until(lambda: house.events)
    house.smtp.answer = _postponing(house, 1)
    while not house.queue.message(queue_id).recipients[0].hold_reason:
        await house.clock.advance(5)
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    house.clock.skip(9 * 86_400)
    house.smtp.answer = None
    house.smtp.fate = Fate.DELIVERED
    house.start()
    await house.until(lambda: "delivered" in house.verbs())
    await house.until_empty()
    assert "failed" not in house.verbs()


async def test_a_report_that_cannot_be_delivered_ends_there(house: House) -> None:
    house.smtp.fate = house.local.fate = Fate.FAILED
    house.start()
    house.put()
    await house.until(lambda: len(house.events) == 3)
    await house.until_empty()
    assert sorted(house.verbs()) == ["failed", "failed", "queued"]


async def test_a_transport_that_breaks_defers_and_the_runner_lives_on(house: House) -> None:
    async def broken(lease: Lease) -> Sequence[Outcome]:
        raise ZeroDivisionError

    house.smtp.answer = broken
    house.start()
    queue_id = house.put()
    await house.until(lambda: house.events)
    [row] = house.queue.message(queue_id).recipients
    assert (row.state, row.attempts, row.last_text) == (RecipientState.DEFERRED, 1, "internal error")
    assert house.value("errors_total") == 1
    house.smtp.answer = None
    house.put("other@else.example")
    await house.until(lambda: "delivered" in house.verbs())


async def test_a_missing_outcome_or_transport_defers(house: House) -> None:
    async def forgetful(lease: Lease) -> Sequence[Outcome]:
        return []

    house.smtp.answer = forgetful
    house.start()
    queue_id = house.put()
    await house.until(lambda: house.events)
    assert house.queue.message(queue_id).recipients[0].attempts == 1


async def test_a_report_that_cannot_be_made_keeps_the_failure_in_the_queue(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Bounces, "report", broken)
    house.smtp.fate = Fate.FAILED
    house.start()
    queue_id = house.put()
    await house.until(lambda: house.events)
    [row] = house.queue.message(queue_id).recipients
    assert "report could not be made" in row.last_text


async def test_a_queue_that_cannot_be_written_is_tried_again_and_nothing_is_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, failures = house.queue.settle, [QueueError("queue.full", "full", temporary=True)] * 2

    def full(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return settle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(house.queue, "settle", full)
    house.start()
    house.put()
    for _ in range(200):
        await house.clock.advance(1)
        await asyncio.sleep(0.002)
        if house.events:
            break
    assert house.verbs() == ["delivered"]
    assert len(house.smtp.leases) == 1


async def test_a_result_that_waits_for_the_disk_longer_than_its_lease_is_not_delivered_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, disk_is_full = house.queue.settle, True

    def full(*arguments: object) -> object:
        if disk_is_full:
            raise QueueError("queue.full", "full", temporary=True)
        return settle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(house.queue, "settle", full)
    house.start()
    house.put()
    for _ in range(90):
        await house.clock.advance(20)
        await asyncio.sleep(0.002)
    disk_is_full = False
    for _ in range(200):
        await house.clock.advance(1)
        await asyncio.sleep(0.002)
        if house.events:
            break
    assert house.verbs() == ["delivered"]
    assert len(house.smtp.leases) == 1


async def test_a_slow_destination_leaves_workers_to_the_others(house: House) -> None:
    opened = asyncio.Event()

    async def slow(lease: Lease) -> Sequence[Outcome]:
        if lease.message.recipients[0].destination == "slow.example":
            await opened.wait()
        return [outcome(one.address, Fate.DELIVERED) for one in lease.message.recipients]

    house.smtp.answer = slow
    for number in range(10):
        house.put(f"r{number}@slow.example")
    for number in range(10):
        house.put(f"r{number}@quick{number}.example")
    house.start(workers=4, per_destination=2)

    def slow_ones() -> int:
        return sum(lease.message.recipients[0].destination == "slow.example" for lease in house.smtp.leases)

    await house.until(lambda: house.verbs().count("delivered") == 10 and slow_ones() == 2)
    await asyncio.sleep(0.01)
    assert slow_ones() == 2
    opened.set()
    await house.until_empty()


async def test_dead_destinations_do_not_hold_up_the_others(house: House) -> None:
    given_up = asyncio.Event()

    async def dead(lease: Lease) -> Sequence[Outcome]:
        if lease.message.recipients[0].destination.startswith("dead"):
            await given_up.wait()
        return [outcome(one.address, Fate.DELIVERED) for one in lease.message.recipients]

    house.smtp.answer = dead
    for number in range(4):
        house.put(f"r@dead{number}.example")
    house.start(workers=2)
    await house.until(lambda: len(house.smtp.leases) == 2)
    house.put("r@quick.example")
    for _ in range(200):
        await house.clock.advance(1)
        await asyncio.sleep(0.002)
        if house.events:
            break
    assert house.verbs() == ["delivered"]
    given_up.set()


async def test_two_runners_never_deliver_the_same_recipient(house: House) -> None:  # D7
    house.start(workers=5, per_destination=5)
    house.start(workers=5, per_destination=5)
    for number in range(40):
        house.put(f"r{number}@d{number % 3}.example")
    await house.until_empty()
    delivered = [one.address for lease in house.smtp.leases for one in lease.message.recipients]
    assert sorted(delivered) == sorted({f"r{number}@d{number % 3}.example" for number in range(40)})


async def test_cancelled_in_the_middle_the_lease_is_put_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.mailqueue.runner._DRAIN_SECONDS", 0.05)
    begun = asyncio.Event()

    async def endless(lease: Lease) -> Sequence[Outcome]:
        begun.set()
        await asyncio.Event().wait()
        return []

    house.smtp.answer = endless
    task = house.start()
    queue_id = house.put()
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    [row] = house.queue.message(queue_id).recipients
    assert (row.state, row.attempts) == (RecipientState.DEFERRED, 0)
    assert house.queue.attempts(queue_id) == []


async def test_a_delivery_under_way_is_finished_and_recorded_at_the_end(house: House) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(lease: Lease) -> Sequence[Outcome]:
        begun.set()
        await finish.wait()
        return [outcome(one.address, Fate.DELIVERED) for one in lease.message.recipients]

    house.smtp.answer = slow
    task = house.start()
    house.put()
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    later = house.put("late@else.example")
    finish.set()
    await asyncio.gather(task, return_exceptions=True)
    assert house.verbs() == ["delivered"]
    assert house.queue.message(later).recipients[0].state is RecipientState.DEFERRED  # nothing new was begun


async def test_the_depth_of_the_queue_is_measured(house: House) -> None:
    house.put("a@one.example", "b@two.example", due_at=house.clock.now() + timedelta(hours=1))
    house.start()
    await house.until(lambda: house.value("queue_depth") == 2)


def _postponing(house: House, hours: int) -> Answer:
    async def answer(lease: Lease) -> Sequence[Outcome]:
        later = house.clock.now() + timedelta(hours=hours)
        return [replace(outcome(one.address, Fate.POSTPONED, 451), retry_at=later) for one in lease.message.recipients]

    return answer


async def test_what_is_put_off_is_no_try_and_waits_for_its_time(house: House) -> None:
    house.smtp.answer = _postponing(house, 3)
    queue_id = house.put()
    house.start()
    later = house.clock.now() + timedelta(hours=3)
    await house.until(lambda: house.queue.message(queue_id).recipients[0].next_at == later)
    assert house.queue.message(queue_id).recipients[0].attempts == 0
    assert house.queue.attempts(queue_id) == []
    assert house.events == []  # nothing happened to it


async def test_what_is_always_put_off_ends_with_a_report_when_its_time_is_over(house: House) -> None:
    house.smtp.answer = _postponing(house, 24 * 30)
    queue_id = house.put()
    house.start()
    expires_at = house.queue.message(queue_id).expires_at
    await house.until(lambda: house.queue.message(queue_id).recipients[0].next_at < expires_at)
    await house.until(lambda: house.queue.message(queue_id).recipients[0].state is RecipientState.DEFERRED)
    await house.clock.advance((expires_at - house.clock.now()).total_seconds() - 30)
    for _ in range(40):
        await house.clock.advance(1)
        await asyncio.sleep(0.002)
    await house.until(lambda: "failed" in house.verbs())
    failed = next(event for event in house.events if event.verb == "failed")
    assert failed.queue_id == queue_id
    assert "given up after 0 tries" in failed.text
    assert any(event.verb == "queued" for event in house.events)  # the report


async def test_a_message_that_cannot_be_read_is_put_aside_and_the_next_one_leaves(house: House) -> None:
    async def picky(lease: Lease) -> Sequence[Outcome]:
        fate = Fate.QUARANTINED if "bad" in lease.message.recipients[0].address else Fate.DELIVERED
        return [outcome(one.address, fate, 451) for one in lease.message.recipients]

    house.smtp.answer = picky
    bad = house.put("bad@there.example")
    house.put("good@there.example")
    house.start()
    await house.until(lambda: len(house.events) == 2)
    assert sorted((event.verb, event.reason) for event in house.events) == [
        ("attempt", "quarantined"),
        ("delivered", ""),
    ]
    assert house.queue.message(bad).recipients[0].state is RecipientState.QUARANTINED
    assert house.queue.stats(house.clock.now()).recipients == 1


async def test_a_damaged_row_stops_no_other(house: House) -> None:
    bad, good = house.put("a@one.example"), house.put("b@two.example")
    with sqlite3.connect(house.queue._database.path) as connection:
        connection.execute("DELETE FROM message WHERE queue_id = ?", (bad,))
    connection.close()
    house.start()
    await house.until(lambda: house.events)
    assert [event.queue_id for event in house.events] == [good]
    await house.until(lambda: house.queue.stats(house.clock.now()).quarantined == 1)


async def test_a_priority_that_nobody_knows_is_none_that_hurries(house: House) -> None:
    queue_id = house.put()
    with sqlite3.connect(house.queue._database.path) as connection:
        connection.execute("UPDATE message SET priority = 77")
    connection.close()
    assert house.queue.message(queue_id).envelope.priority is Priority.BULK
    house.start()
    await house.until_empty()


async def test_results_that_come_together_are_written_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    settle = house.queue.settle

    def counting(settlements: Sequence[Settlement], now: datetime) -> Sequence[Lease]:
        sizes.append(len(settlements))
        return settle(settlements, now)

    monkeypatch.setattr(house.queue, "settle", counting)
    gate = asyncio.Event()

    async def together(lease: Lease) -> Sequence[Outcome]:
        await gate.wait()
        return [outcome(one.address, Fate.DELIVERED) for one in lease.message.recipients]

    house.smtp.answer = together
    for number in range(30):
        house.put(f"u@d{number}.example")
    house.start()
    await house.until(lambda: len(house.smtp.leases) == 30)
    gate.set()
    await house.until(lambda: len(house.events) == 30)
    assert sum(sizes) == 30
    assert len(sizes) < 10
