"""Marks of deliveries: what a dead process had delivered is settled by the next one and goes out once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.events.bus import LocalBus
from mailbox_app.mailqueue import delivery_marks
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.delivery_marks import DeliveryMarks, settle_left_behind
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueueFilter, Settlement
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus, outcome, put


class House:
    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.clock = FakeClock()
        self.spool = Spool(tmp_path / "queue")
        self.queue = SqliteQueue(tmp_path / "queue.db", self.spool, RecordingBus(), self.clock)
        self.marks = tmp_path / "marks"

    def put(self, *recipients: str) -> None:
        put(self.queue, self.spool, self.clock.now(), recipients or ("bob@there.example",))

    def claim(self) -> Sequence[Lease]:
        return self.queue.claim(self.clock.now(), limit=10, lease_seconds=1200)

    def dies_after(self, *addresses: str, torn: bytes = b"", twice: bool = False) -> None:
        """A process claims everything, delivers to these, and is killed."""
        if (child := os.fork()) == 0:
            try:
                marks = DeliveryMarks(self.marks)
                for lease in self.claim():
                    done = [
                        outcome(one.address, Fate.DELIVERED, text="taken")
                        for one in lease.message.recipients
                        if one.address in addresses
                    ]
                    marks.note(lease, done)
                    if twice:
                        marks.note(lease, done)
                if torn:
                    path = next(self.marks.iterdir())
                    with path.open("ab") as file:
                        file.write(torn)
            finally:
                os.kill(os.getpid(), 9)
        os.waitpid(child, 0)

    def history(self) -> list[str]:
        return sorted(each.address for each in self.queue.history(QueueFilter(), 0, 100))

    def waiting(self) -> int:
        return self.queue.stats(self.clock.now()).recipients


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def settle(house: House) -> int:
    return settle_left_behind(house.queue, house.marks, house.clock.now())


@pytest.mark.parametrize("torn", [b"", b'["to', b'\n["token"', b"\0\0\0\n", b"\n[]\n", b"\xff\xfe\n"])
def test_what_a_dead_process_delivered_is_settled_and_the_rest_goes_again(house: House, torn: bytes) -> None:
    house.put("bob@there.example")
    house.put("eve@there.example")
    house.dies_after("bob@there.example", torn=torn)
    assert settle(house) == 1
    assert house.history() == ["bob@there.example"]
    assert house.queue.history(QueueFilter(), 0, 1)[0].text == "taken"
    house.queue.recover(house.clock.now())
    assert [lease.message.recipients[0].address for lease in house.claim()] == ["eve@there.example"]
    assert list(house.marks.iterdir()) == []


def test_recipients_of_a_lease_that_were_not_taken_go_back(house: House) -> None:
    house.put("bob@there.example", "eve@there.example")
    house.dies_after("bob@there.example", twice=True)
    assert settle(house) == 1
    assert house.history() == ["bob@there.example"]
    assert house.waiting() == 1
    assert len(house.claim()) == 1


def test_a_lease_that_was_settled_before_the_end_is_not_settled_again(house: House) -> None:
    house.put()
    lease = house.claim()[0]
    house.marks.mkdir()
    marks = DeliveryMarks(house.marks)
    done = outcome("bob@there.example", Fate.DELIVERED)
    marks.note(lease, [done])
    path = next(house.marks.iterdir())
    path.rename(house.marks / f"1.0.{path.name[-12:]}")  # as if somebody dead had written it
    house.queue.settle([Settlement(lease, [done], house.clock.now())], house.clock.now())
    assert settle(house) == 0
    assert house.history() == ["bob@there.example"]


def test_marks_of_the_living_are_left_alone(house: House) -> None:
    house.put()
    lease = house.claim()[0]
    marks = DeliveryMarks(house.marks)
    marks.note(lease, [outcome("bob@there.example", Fate.DELIVERED)])
    assert settle(house) == 0
    assert len(list(house.marks.iterdir())) == 1
    assert [each.address for each in marks.of(lease)] == ["bob@there.example"]


def test_only_deliveries_are_marked(house: House) -> None:
    house.put()
    lease = house.claim()[0]
    marks = DeliveryMarks(house.marks)
    marks.note(lease, [outcome("bob@there.example", Fate.DEFERRED), outcome("bob@there.example", Fate.FAILED)])
    assert marks.of(lease) == []
    assert list(house.marks.iterdir()) == []


def test_files_go_when_their_leases_are_settled(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_marks, "_FILE_BYTES", 500)
    marks = DeliveryMarks(house.marks)
    for number in range(20):
        house.put(f"r{number}@there.example")
    leases = house.queue.claim(house.clock.now(), limit=20, lease_seconds=1200, per_destination=20)
    for lease in leases:
        marks.note(lease, [outcome(lease.message.recipients[0].address, Fate.DELIVERED)])
    assert len(list(house.marks.iterdir())) > 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in house.marks.iterdir())
    for lease in leases:
        marks.settled(lease)
    assert len(list(house.marks.iterdir())) <= 1
    marks.close()
    assert list(house.marks.iterdir()) == []


def test_a_disk_that_takes_no_marks_stops_no_delivery(house: House) -> None:
    house.put()
    lease = house.claim()[0]
    marks = DeliveryMarks(house.marks)
    house.marks.rmdir()
    marks.note(lease, [outcome("bob@there.example", Fate.DELIVERED)])
    assert len(marks.of(lease)) == 1
    marks.settled(lease)
    assert marks.of(lease) == []


class Halts:
    """A transport: the first recipient is taken, then the server says nothing any more, or it breaks."""

    def __init__(self, marks: DeliveryMarks, *, breaks: bool) -> None:
        self._marks = marks
        self._breaks = breaks
        self.leases: list[Lease] = []

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        self.leases.append(lease)
        self._marks.note(lease, [outcome(lease.message.recipients[0].address, Fate.DELIVERED)])
        if self._breaks:
            raise RuntimeError
        await asyncio.Event().wait()
        raise AssertionError


async def deliver(
    tmp_path: Path, events: list[MailEvent], transport: Halts, marks: DeliveryMarks, *, at_end: bool
) -> SqliteQueue:
    spool, clock, bus, offload = Spool(tmp_path / "queue"), SystemClock(), LocalBus(), Offload(2)
    queue = SqliteQueue(tmp_path / "queue.db", spool, bus, clock)
    put(queue, spool, clock.now(), ["bob@there.example", "eve@there.example"])
    runner = QueueRunner(
        queue,
        {"smtp": transport},
        Bounces(queue, spool, lambda domain: False, "here.example", clock),
        offload=offload,
        clock=clock,
        bus=bus,
        mail_log=MailLog([events.append]),
        metrics=Metrics(),
        marks=marks,
    )
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(20):
        while not (transport.leases if at_end else events):  # noqa: ASYNC110 - the work is done in threads
            await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    offload.close()
    return queue


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_delivery_that_ends_badly_keeps_what_was_taken(
    tmp_path: Path, breaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailbox_app.mailqueue.runner._DRAIN_SECONDS", 0.01)
    events: list[MailEvent] = []
    marks = DeliveryMarks(tmp_path / "marks")
    queue = await deliver(tmp_path, events, Halts(marks, breaks=breaks), marks, at_end=not breaks)
    assert [each.address for each in queue.history(QueueFilter(), 0, 9)] == ["bob@there.example"]
    assert ("delivered", ("bob@there.example",)) in [(each.verb, each.recipients) for each in events]
    assert queue.stats(SystemClock().now() + timedelta(days=1)).deferred == 1
    assert list((tmp_path / "marks").iterdir()) == []
    queue.close()
