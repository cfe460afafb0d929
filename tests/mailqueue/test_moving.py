"""A queue that moves to another backend takes everything along, also when the move is killed again and again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.schema import Queue
from mailbox_app.db.redis import RedisLink
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Fate, HoldRule, NewRecipient, Pause, QueueFilter, Settlement
from mailbox_app.mailqueue.moving import Move, Place, is_empty
from mailbox_app.mailqueue.redis.moving import RedisPlace
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.moving import SqlitePlace
from tests.support.queue import MESSAGE, RecordingBus, outcome, put
from tests.support.redis import RedisServer

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
BIG = bytes(range(256)) * 10_000


class Places:
    """Both backends on one machine; `open` makes them anew, as another process would."""

    def __init__(self, directory: Path, source: str) -> None:
        self.server = RedisServer(directory / "redis").start()
        self.directory = directory
        self.names = (source, "redis" if source == "sqlite" else "sqlite")
        self.source, self.target = self.open(self.names[0]), self.open(self.names[1])

    @property
    def spool(self) -> Spool:
        return Spool(self.directory / "queue")

    def open(self, name: str) -> Place:
        if name == "sqlite":
            return SqlitePlace(self.directory / "queue.db", self.spool, RecordingBus())
        link = RedisLink(Queue(backend="redis", redis_url=self.server.url), SystemClock())
        return RedisPlace(link, self.spool, RecordingBus(), node="one", caller_time=True)

    def move(self) -> Move:
        move = Move(self.source, self.target, self.spool)
        while move.step():
            pass
        move.finish(NOW)
        return move


@pytest.fixture(params=["sqlite", "redis"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    made = Places(tmp_path, request.param)
    yield made
    made.server.destroy()


def test_everything_that_is_known_moves_along(places: Places) -> None:
    source, target, spool = places.source, places.target, places.spool
    source.add_rule(HoldRule(0, recipient="@held.example", reason="look first"))
    first = put(source, spool, NOW, ["a@one.example", "b@two.example", "c@held.example", NewRecipient("d@one.example")])
    big = put(source, spool, NOW, content=BIG, due_at=NOW + HOUR)
    gone = put(source, spool, NOW, ["x@gone.example"])
    for lease in source.claim(NOW, limit=10, lease_seconds=60):
        if lease.message.queue_id == gone:
            source.settle([Settlement(lease, [outcome("x@gone.example", Fate.DELIVERED)], NOW)], NOW)
        elif lease.message.recipients[0].destination == "one.example":
            outcomes = [outcome("a@one.example", Fate.DEFERRED, 451, "later"), outcome("d@one.example", Fate.DELIVERED)]
            source.settle([Settlement(lease, outcomes, NOW + HOUR, ["a@one.example"])], NOW)
    source.reroute(QueueFilter(domain="two.example"), "relay", NOW)  # leased by a process that is no more
    source.pause(Pause("quiet.example", "why", NOW))
    before = source.message(first)
    attempts, history = source.attempts(first), source.history(QueueFilter(), 0, 10)

    assert places.move().moved == 3
    assert is_empty(source)
    after = target.message(first)
    states = {row.address: row.state.value for row in after.recipients}
    assert states == {"a@one.example": "deferred", "b@two.example": "deferred", "c@held.example": "held"}
    assert [
        replace(row, state=old.state) for row, old in zip(after.recipients, before.recipients, strict=True)
    ] == list(before.recipients)
    assert replace(after, recipients=()) == replace(before, recipients=())
    assert target.attempts(first) == attempts
    assert set(target.history(QueueFilter(), 0, 10)) == set(history)
    assert target.content(first, 0, 1 << 20) == MESSAGE
    assert b"".join(target.content(big, start, 1 << 20) for start in range(0, len(BIG), 1 << 20)) == BIG
    assert [(rule.recipient, rule.reason) for rule in target.rules()] == [("@held.example", "look first")]
    assert [pause.destination for pause in target.pauses()] == ["quiet.example"]
    assert target.stats(NOW).recipients == 4


def test_a_move_that_was_killed_goes_on_and_nothing_is_lost_or_twice(places: Places) -> None:
    ids = [put(places.source, places.spool, NOW, [f"r{number}@one.example"]) for number in range(300)]
    ids.append(put(places.source, places.spool, NOW, ["big@one.example"], content=BIG))
    finished: set[str] = set()
    for _ in range(8):
        _killed_after(0.06, lambda: Move(places.open(places.names[0]), places.open(places.names[1]), places.spool))
        for lease in places.target.claim(NOW, limit=5, lease_seconds=60, per_destination=1000):  # it delivers meanwhile
            assert lease.message.queue_id not in finished
            finished.add(lease.message.queue_id)
            done = [outcome(row.address, Fate.DELIVERED) for row in lease.message.recipients]
            assert places.target.settle([Settlement(lease, done, NOW)], NOW) == []
    places.move()
    assert places.source.stats(NOW).messages == 0
    waiting = {queue_id for queue_id, _, _ in places.target.matching(QueueFilter(), 1_000)}
    assert waiting | finished == set(ids)
    assert not waiting & finished
    for queue_id in waiting:
        size = places.target.message(queue_id).size_bytes
        assert len(places.target.content(queue_id, 0, 1 << 22)) == size


def _killed_after(seconds: float, make: Callable[[], Move]) -> None:
    if (child := os.fork()) == 0:
        move = make()
        while move.step(5):
            pass
        signal.pause()
    time.sleep(seconds)  # any moment will do
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_message_that_cannot_be_read_stays_and_the_others_move(places: Places) -> None:
    bad, good = (put(places.source, places.spool, NOW, [f"{name}@one.example"]) for name in ("bad", "good"))
    [lease] = [one for one in places.source.claim(NOW, limit=2, lease_seconds=60) if one.message.queue_id == bad]
    Path(lease.spool_path).unlink()
    places.server.client().delete(f"mailbox:queue:b:{bad}")
    move = places.move()
    assert move.unreadable == [bad]
    assert places.target.message(good).recipients
    assert places.source.message(bad).recipients


def test_a_message_that_leaves_in_the_middle_of_its_move_is_no_trouble_for_the_others(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, *others = [put(places.source, places.spool, NOW, [f"r{number}@one.example"]) for number in range(4)]
    for name in ("message", "content"):
        ask = getattr(places.source, name)

        def left_meanwhile(
            queue_id: QueueId, *rest: int, ask: Callable[..., object] = ask, it: QueueId = leaving
        ) -> object:
            if queue_id == it:  # delivered by who still works on the old queue
                places.source.let_go(queue_id)
            return ask(queue_id, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(places.source, name, left_meanwhile)
            move = Move(places.source, places.target, places.spool)
            while move.step(2):
                pass
        assert move.unreadable == []
        assert {queue_id for queue_id, _, _ in places.target.matching(QueueFilter(), 10)} == set(others)
        leaving = put(places.source, places.spool, NOW, ["again@one.example"])
