"""What every queue backend keeps; run on each of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import (
    Envelope,
    Fate,
    HoldRule,
    Lease,
    NewRecipient,
    Pause,
    Priority,
    QueueFilter,
    RecipientState,
    Settlement,
)
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.queue import MESSAGE, RecordingBus, outcome, put
from tests.support.redis import RedisServer
from tests.support.redis_queue import redis_queue

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Bench:
    """One backend under test; `again` opens the same queue a second time, as another process would."""

    def __init__(self, make: Callable[[Spool, RecordingBus], QueueBackend], directory: Path) -> None:
        self.spool = Spool(directory / "queue")
        self.bus = RecordingBus()
        self._make = make
        self.backend = self.again()

    server: RedisServer | None = None

    def again(self) -> QueueBackend:
        return self._make(self.spool, self.bus)

    def lose_content(self, lease: Lease) -> None:
        """As a disk would that forgets."""
        Path(lease.spool_path).unlink()
        if self.server is not None:
            self.server.client().delete(f"mailbox:queue:b:{lease.message.queue_id}")

    def put(self, *recipients: str | NewRecipient, **rest: object) -> str:
        return put(self.backend, self.spool, NOW, recipients or ("bob@there.example",), **rest)  # type: ignore[arg-type]

    def claim(self, now: datetime = NOW, limit: int = 10, **rest: object) -> list[Lease]:
        return list(self.backend.claim(now, limit=limit, lease_seconds=600, **rest))  # type: ignore[arg-type]

    def settle_all(self, lease: Lease, fate: Fate, now: datetime = NOW) -> None:
        outcomes = [outcome(recipient.address, fate) for recipient in lease.message.recipients]
        self.backend.settle([Settlement(lease, outcomes, now + HOUR)], now)


@pytest.fixture(params=["sqlite", "redis"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    opened: list[SqliteQueue | RedisQueue] = []
    server = RedisServer(tmp_path / "redis").start() if request.param == "redis" else None

    def make(spool: Spool, bus: RecordingBus) -> QueueBackend:
        if server is None:
            opened.append(SqliteQueue(tmp_path / "queue.db", spool, bus))
        else:
            opened.append(redis_queue(server, spool, bus, caller_time=True))
        return opened[-1]

    made = Bench(make, tmp_path)
    made.server = server
    yield made
    for queue in opened:
        queue.close()
    if server is not None:
        server.destroy()


def addresses(leases: list[Lease]) -> list[list[str]]:
    return [sorted(recipient.address for recipient in lease.message.recipients) for lease in leases]


# --- taking in


def test_a_queued_message_is_due_at_once_and_hinted(bench: Bench) -> None:
    queue_id = bench.put()
    assert bench.bus.published == [QUEUE_TOPIC]
    assert bench.backend.next_due_at() == NOW
    [lease] = bench.claim()
    assert lease.message.queue_id == queue_id
    assert Path(lease.spool_path).read_bytes() == MESSAGE
    assert lease.message.expires_at == NOW + timedelta(days=7)


def test_everything_of_the_envelope_comes_back(bench: Bench) -> None:
    envelope = Envelope(
        "a@b.example",
        "8BITMIME",
        True,
        "FULL",
        "id+2B1",
        "a@b.example",
        "<1@b>",
        require_tls=True,
        release_request="for;60",
    )
    new = NewRecipient("Bob@There.example", "local", "FAILURE,DELAY", "rfc822;Bob@There.example", "mailbox full")
    queue_id = bench.put(new, envelope=envelope)
    message = bench.backend.message(queue_id)
    assert message.envelope == envelope
    assert message.size_bytes == len(MESSAGE)
    [row] = message.recipients
    assert (row.address, row.transport, row.destination) == ("Bob@There.example", "local", "there.example")
    assert (row.notify, row.orcpt, row.last_text) == (new.notify, new.orcpt, new.reason)
    assert (row.state, row.attempts, row.next_at) == (RecipientState.DEFERRED, 0, NOW)


def test_a_message_may_wait_for_its_time(bench: Bench) -> None:
    bench.put(due_at=NOW + HOUR)
    assert bench.claim() == []
    assert bench.backend.next_due_at() == NOW + HOUR
    [lease] = bench.claim(NOW + HOUR)
    assert lease.message.expires_at == NOW + HOUR + timedelta(days=7)


def test_the_same_address_twice_is_one_recipient(bench: Bench) -> None:
    bench.put("bob@there.example", "bob@there.example")
    assert addresses(bench.claim()) == [["bob@there.example"]]


def test_a_reopened_queue_holds_what_it_held(bench: Bench) -> None:
    queue_id = bench.put()
    assert bench.again().message(queue_id).envelope.sender == "alice@here.example"


# --- leases


def test_recipients_of_one_destination_and_transport_are_one_lease(bench: Bench) -> None:
    bench.put("a@one.example", "b@ONE.example", "c@two.example", NewRecipient("d@one.example", "local"))
    assert sorted(addresses(bench.claim())) == [
        ["a@one.example", "b@ONE.example"],
        ["c@two.example"],
        ["d@one.example"],
    ]


def test_messages_are_never_mixed_in_a_lease(bench: Bench) -> None:
    bench.put()
    bench.put()
    assert len(bench.claim()) == 2


def test_the_oldest_due_comes_first_and_the_limit_holds(bench: Bench) -> None:
    late = bench.put(due_at=NOW + HOUR)
    early = bench.put(due_at=NOW)
    assert [lease.message.queue_id for lease in bench.claim(NOW + HOUR, limit=1)] == [early]
    assert [lease.message.queue_id for lease in bench.claim(NOW + HOUR, limit=1)] == [late]


def test_a_leased_recipient_is_nobody_elses(bench: Bench) -> None:
    bench.put()
    assert len(bench.claim()) == 1
    assert bench.claim() == []
    assert list(bench.again().claim(NOW, limit=5, lease_seconds=600)) == []


def test_a_lease_that_ran_out_is_due_again_and_its_first_holder_changes_nothing(bench: Bench) -> None:
    queue_id = bench.put()
    [first] = bench.claim()
    assert bench.backend.next_due_at() == first.until
    [second] = bench.claim(first.until)
    assert bench.backend.settle(
        [Settlement(first, [outcome("bob@there.example", Fate.DELIVERED)], NOW + HOUR)], NOW
    ) == [first]
    bench.backend.release(first)
    assert bench.claim(first.until) == []
    assert bench.backend.message(queue_id).recipients[0].state is RecipientState.ACTIVE
    bench.settle_all(second, Fate.DELIVERED)


def test_a_released_lease_leaves_no_trace(bench: Bench) -> None:
    queue_id = bench.put()
    before = bench.backend.message(queue_id)
    bench.backend.release(bench.claim()[0])
    assert bench.backend.message(queue_id) == before
    assert bench.backend.attempts(queue_id) == []


def test_a_busy_destination_is_passed_over(bench: Bench) -> None:
    for _ in range(4):
        bench.put("a@slow.example")
    bench.put("b@quick.example")
    leases = bench.claim(per_destination=3)
    assert sorted(addresses(leases)) == [["a@slow.example"]] * 3 + [["b@quick.example"]]
    assert bench.claim(per_destination=3, running={"slow.example": 3}) == []
    assert len(bench.claim(per_destination=3, running={"slow.example": 2})) == 1


def test_a_lease_holds_at_most_a_hundred_recipients(bench: Bench) -> None:
    bench.put(*(f"r{number}@one.example" for number in range(150)))
    assert sorted(len(lease.message.recipients) for lease in bench.claim()) == [50, 100]


def test_two_runners_never_own_the_same_recipient(bench: Bench) -> None:  # D7
    for number in range(60):
        bench.put(f"r{number}@d{number % 7}.example")
    owned: list[str] = []
    together = threading.Barrier(4)

    def run(backend: QueueBackend) -> None:
        together.wait()
        while leases := backend.claim(NOW, limit=3, lease_seconds=600, per_destination=100):
            owned.extend(recipient.address for lease in leases for recipient in lease.message.recipients)

    threads = [threading.Thread(target=run, args=(bench.again(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owned) == len(set(owned)) == 60


def test_leases_of_a_dead_process_are_put_back_at_the_next_start(bench: Bench) -> None:
    bench.put("a@one.example")
    bench.put("b@two.example")
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:  # the child takes one lease and dies with it
        leases = bench.again().claim(NOW, limit=1, lease_seconds=600)
        os.write(writing, str(len(leases)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 9) == b"1"
    os.close(reading)
    os.close(writing)
    [mine] = bench.claim()
    assert bench.backend.recover(NOW) == 1
    assert len(bench.claim()) == 1
    bench.settle_all(mine, Fate.DELIVERED)  # the lease of the living was not touched


# --- outcomes


def test_each_recipient_has_its_own_fate(bench: Bench) -> None:  # D4, D5
    queue_id = bench.put("ok@one.example", "later@one.example", "no@one.example", "other@two.example")
    lease = next(lease for lease in bench.claim() if len(lease.message.recipients) == 3)
    outcomes = [
        outcome("ok@one.example", Fate.DELIVERED),
        outcome("later@one.example", Fate.DEFERRED, 450, "greylisted"),
        outcome("no@one.example", Fate.FAILED),
    ]
    bench.backend.settle([Settlement(lease, outcomes, NOW + HOUR)], NOW)
    rows = {row.address: row for row in bench.backend.message(queue_id).recipients}
    assert set(rows) == {"later@one.example", "other@two.example"}
    later = rows["later@one.example"]
    assert (later.attempts, later.next_at, later.last_code, later.last_text, later.last_host) == (
        1, NOW + HOUR, 450, "greylisted", "mx.there.example",
    )  # fmt: skip
    assert bench.backend.header(QueueId(queue_id))
    history = bench.backend.attempts(queue_id)
    assert [attempt.fate for attempt in history] == [Fate.DELIVERED, Fate.DEFERRED, Fate.FAILED]
    assert history[1].text == "greylisted"
    assert history[1].tls == "TLSv1.3"


@pytest.mark.parametrize("fate", [Fate.DELIVERED, Fate.FAILED, Fate.LOOP])
def test_the_last_finished_recipient_takes_message_and_file_along(bench: Bench, fate: Fate) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    bench.settle_all(lease, fate)
    with pytest.raises(QueueError, match=r"queue\.no_such_id"):
        bench.backend.message(queue_id)
    assert not Path(lease.spool_path).exists()
    assert bench.backend.next_due_at() is None


def test_a_lease_that_is_still_worked_on_does_not_run_out(bench: Bench) -> None:
    bench.put()
    [lease] = bench.claim()
    late = NOW + 10 * HOUR
    assert list(bench.backend.claim(late, limit=9, lease_seconds=60, held=[lease.token])) == []
    bench.settle_all(lease, Fate.DELIVERED)
    assert bench.backend.stats(late).recipients == 0


def test_a_recipient_without_an_outcome_goes_back_as_it_was(bench: Bench) -> None:
    queue_id = bench.put("a@one.example", "b@one.example")
    [lease] = bench.claim()
    bench.backend.settle([Settlement(lease, [outcome("a@one.example", Fate.DELIVERED)], NOW + HOUR)], NOW)
    [row] = bench.backend.message(queue_id).recipients
    assert (row.address, row.state, row.attempts, row.next_at) == ("b@one.example", RecipientState.DEFERRED, 0, NOW)


def test_outcomes_of_strangers_are_ignored(bench: Bench) -> None:
    queue_id = bench.put("a@one.example", "b@two.example")
    lease = bench.claim(limit=1)[0]
    other = "b@two.example" if lease.message.recipients[0].address == "a@one.example" else "a@one.example"
    bench.backend.settle([Settlement(lease, [outcome(other, Fate.DELIVERED)], NOW + HOUR)], NOW)
    assert len(bench.backend.message(queue_id).recipients) == 2


# --- operators


def test_unknown_ids_are_told(bench: Bench) -> None:
    for call in (bench.backend.message, bench.backend.header):
        with pytest.raises(QueueError, match=r"queue\.no_such_id"):
            call("nosuchid")  # type: ignore[operator]
    assert bench.backend.attempts("nosuchid") == []  # type: ignore[arg-type]


def test_the_header_ends_at_the_empty_line_or_the_limit(bench: Bench) -> None:
    queue_id = bench.put()
    assert bench.backend.header(queue_id).endswith(b"<1@here.example>\r\n\r\n")  # type: ignore[arg-type]
    assert bench.backend.header(queue_id, 10) == MESSAGE[:10]  # type: ignore[arg-type]


def test_retry_makes_waiting_mail_due_now(bench: Bench) -> None:
    bench.put("a@one.example", "b@two.example", due_at=NOW + HOUR)
    bench.bus.published.clear()
    assert bench.backend.retry(QueueFilter(domain="one.example"), NOW) == 1
    assert bench.bus.published == [QUEUE_TOPIC]
    assert addresses(bench.claim()) == [["a@one.example"]]


def test_held_mail_waits_for_its_release(bench: Bench) -> None:
    queue_id = bench.put("a@one.example", "b@two.example")
    assert bench.backend.hold(QueueFilter(recipient="a@one.example")) == 1
    assert bench.backend.hold(QueueFilter(recipient="a@one.example")) == 0
    assert addresses(bench.claim(NOW + HOUR)) == [["b@two.example"]]
    assert bench.backend.retry(QueueFilter(ids=(queue_id,)), NOW) == 0  # type: ignore[arg-type]
    assert bench.backend.unhold(QueueFilter(), NOW) == 1
    assert addresses(bench.claim()) == [["a@one.example"]]


def test_mail_held_during_its_delivery_is_held_after_it(bench: Bench) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    assert bench.backend.hold(QueueFilter()) == 1
    bench.settle_all(lease, Fate.DEFERRED)
    assert bench.backend.message(queue_id).recipients[0].state is RecipientState.HELD


def test_matching_names_exactly_what_a_filter_means(bench: Bench) -> None:
    first = bench.put("b@two.example", "a@one.example")
    second = bench.put("a@one.example", sender="zoe@here.example")
    bench.backend.hold(QueueFilter(domain="two.example"))
    held, deferred = RecipientState.HELD, RecipientState.DEFERRED
    everything = [
        (first, "a@one.example", deferred),
        (first, "b@two.example", held),
        (second, "a@one.example", deferred),
    ]
    assert list(bench.backend.matching(QueueFilter(), 9)) == everything
    assert list(bench.backend.matching(QueueFilter(), 2)) == everything[:2]
    assert list(bench.backend.matching(QueueFilter(state=held), 9)) == everything[1:2]
    assert list(bench.backend.matching(QueueFilter(text="zoe"), 9)) == everything[2:]


def test_take_leases_whatever_waits_but_never_what_is_being_delivered(bench: Bench) -> None:
    bench.put("a@one.example", "b@two.example", "c@three.example", due_at=NOW + HOUR)
    bench.backend.hold(QueueFilter(domain="two.example"))
    bench.backend.retry(QueueFilter(domain="three.example"), NOW)
    assert len(bench.claim()) == 1
    leases = list(bench.backend.take(QueueFilter(), NOW, 600))
    assert sorted(addresses(leases)) == [["a@one.example"], ["b@two.example"]]
    assert list(bench.backend.take(QueueFilter(), NOW, 600)) == []
    for lease in leases:
        bench.backend.release(lease)
    assert bench.backend.stats(NOW).held == 1


def test_a_filter_means_all_its_conditions(bench: Bench) -> None:
    first = bench.put("a@one.example", sender="Alice@Here.example")
    second = bench.put("b@one.example", "c@two.example", sender="")

    def found(where: QueueFilter) -> set[str]:
        return {row.address for row in bench.backend.window(where, "next", False, 0, 10)[1]}

    everyone = {"a@one.example", "b@one.example", "c@two.example"}
    assert found(QueueFilter()) == everyone
    assert found(QueueFilter(ids=(first, second))) == everyone  # type: ignore[arg-type]
    assert found(QueueFilter(sender="alice@here.example")) == {"a@one.example"}
    assert found(QueueFilter(sender="@here.example")) == {"a@one.example"}
    assert found(QueueFilter(sender="<>")) == {"b@one.example", "c@two.example"}
    assert found(QueueFilter(recipient="@one.example")) == {"a@one.example", "b@one.example"}
    assert found(QueueFilter(recipient="C@two.example", domain="two.example")) == {"c@two.example"}
    assert found(QueueFilter(recipient="c@two.example", domain="one.example")) == set()
    assert found(QueueFilter(state=RecipientState.HELD)) == set()
    assert found(QueueFilter(text="TWO")) == {"c@two.example"}
    assert found(QueueFilter(older_than_seconds=1)) == (everyone if datetime.now(UTC) > NOW + HOUR else set())


def test_wildcards_in_an_operators_text_are_plain_characters(bench: Bench) -> None:
    bench.put("a_b@one.example", "axb@one.example", "50%@one.example")

    def count(text: str) -> int:
        return bench.backend.window(QueueFilter(text=text), "next", False, 0, 10)[0]

    assert [count("a_b"), count("%"), count("\\"), count("'"), count("")] == [1, 1, 0, 0, 3]


@pytest.mark.parametrize("sort", ["next", "age", "size", "sender", "recipient", "attempts"])
def test_a_window_is_a_page_of_the_sorted_queue(bench: Bench, sort: str) -> None:
    for number in range(5):
        bench.put(
            f"r{number}@one.example",
            sender=f"s{number}@x.example",
            content=MESSAGE + b"x" * number,
            due_at=NOW + number * HOUR,
        )
    for number in range(5):
        for _ in range(number):
            bench.backend.retry(QueueFilter(recipient=f"r{number}@one.example"), NOW)
            [lease] = bench.backend.take(QueueFilter(recipient=f"r{number}@one.example"), NOW, 600)
            bench.backend.settle(
                [Settlement(lease, [outcome(f"r{number}@one.example", Fate.DEFERRED)], NOW + number * HOUR)], NOW
            )
    total, rows, messages = bench.backend.window(QueueFilter(), sort, False, 1, 2)
    assert total == 5
    assert {message.queue_id for message in messages} == {row.queue_id for row in rows}
    if sort != "age":  # ids made in one millisecond have no order
        assert [row.address for row in rows] == ["r1@one.example", "r2@one.example"]
        rows = bench.backend.window(QueueFilter(), sort, True, 0, 1)[1]
        assert [row.address for row in rows] == ["r4@one.example"]


def test_an_unknown_sort_is_refused(bench: Bench) -> None:
    with pytest.raises(QueueError, match=r"queue\.no_such_sort"):
        bench.backend.window(QueueFilter(), "next; DROP TABLE message", False, 0, 1)


def test_stats_count_states_and_destinations(bench: Bench) -> None:
    empty = bench.backend.stats(NOW)
    assert (empty.recipients, empty.oldest_at) == (0, None)
    bench.put("a@one.example", "b@one.example", "c@two.example", "d@three.example")
    bench.backend.hold(QueueFilter(domain="two.example"))
    bench.claim(limit=1)
    stats = bench.backend.stats(NOW + HOUR)
    assert (stats.recipients, stats.messages, stats.held) == (4, 1, 1)
    assert stats.active + stats.deferred == 3
    assert stats.late == stats.deferred
    assert stats.oldest_at == NOW
    assert stats.by_destination[0] == ("one.example", 2)


# --- trouble


def test_a_queue_that_cannot_write_says_temporary_and_keeps_no_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bench.spool.write(b"", MESSAGE)
    bench.backend.enqueue(Envelope("a@b.example"), [NewRecipient("b@c.example")], file, NOW)
    with pytest.raises(
        Exception, match=r"UNIQUE|queue\.unreadable"
    ):  # the same file twice: nothing half-written may stay
        bench.backend.enqueue(Envelope("a@b.example"), [NewRecipient("b@c.example")], file, NOW)
    assert bench.backend.stats(NOW).messages == 1


def test_files_without_a_message_are_removed_at_the_start(bench: Bench) -> None:
    kept = bench.put()
    orphan, young = bench.spool.write(b"", b"orphan"), bench.spool.write(b"", b"young")
    for path in bench.spool.directory.iterdir():
        if str(path) != young.path:
            os.utime(path, (0, 0))
    bench.backend.recover(NOW)
    assert not Path(orphan.path).exists()
    assert Path(young.path).exists()
    assert bench.backend.header(kept).startswith(b"From:")  # type: ignore[arg-type]


def test_a_lost_spool_file_does_not_stop_its_message_from_leaving(bench: Bench) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    bench.lose_content(lease)
    with pytest.raises(QueueError) as caught:
        bench.backend.header(queue_id)  # type: ignore[arg-type]
    assert caught.value.temporary
    bench.settle_all(replace(lease), Fate.FAILED)
    assert bench.backend.stats(NOW).messages == 0


def test_what_was_promised_survives_a_kill(bench: Bench) -> None:
    for wait_seconds in (0.03, 0.06, 0.1):
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            backend = bench.again()
            while True:
                queue_id = put(backend, bench.spool, NOW)
                os.write(writing, f"{queue_id}\n".encode())
        time.sleep(wait_seconds)  # any moment will do
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as promised:
            for queue_id in promised.read().split():
                assert bench.backend.message(queue_id).recipients  # type: ignore[arg-type]
                assert bench.backend.header(queue_id).startswith(b"From:")  # type: ignore[arg-type]
    while leases := bench.claim(limit=1000, per_destination=1000):
        for lease in leases:
            assert Path(lease.spool_path).read_bytes() == MESSAGE  # nothing half-written is visible
            bench.settle_all(lease, Fate.DELIVERED)


# --- what does not end, what is put aside, what is kept


def test_a_postponed_recipient_waits_for_its_own_time_and_has_not_been_tried(bench: Bench) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    address = lease.message.recipients[0].address
    postponed = replace(outcome(address, Fate.POSTPONED, 451, "circuit open"), retry_at=NOW + 2 * HOUR)
    bench.backend.settle([Settlement(lease, [postponed], NOW + HOUR)], NOW)
    [row] = bench.backend.message(queue_id).recipients
    assert (row.attempts, row.next_at, row.hold_reason) == (0, NOW + 2 * HOUR, "circuit open")
    assert bench.backend.attempts(queue_id) == []


def test_a_postponed_recipient_still_knows_the_last_answer_and_a_try_ends_the_reason(bench: Bench) -> None:
    queue_id = QueueId(bench.put())
    fates = (Fate.DEFERRED, Fate.POSTPONED, Fate.DEFERRED)
    seen = []
    for turn, fate in enumerate(fates):
        [lease] = bench.claim(NOW + turn * HOUR)
        bench.backend.settle([Settlement(lease, [outcome("bob@there.example", fate, text=f"text {turn}")], NOW)], NOW)
        [row] = bench.backend.message(queue_id).recipients
        seen.append((row.attempts, row.last_text, row.hold_reason))
    assert seen == [(1, "text 0", ""), (1, "text 0", "text 1"), (2, "text 2", "")]


def test_what_is_held_while_it_is_delivered_keeps_the_operators_reason(bench: Bench) -> None:
    queue_id = QueueId(bench.put())
    [lease] = bench.claim()
    bench.backend.hold(QueueFilter(), "look first")
    bench.backend.settle([Settlement(lease, [outcome("bob@there.example", Fate.DEFERRED)], NOW + HOUR)], NOW)
    [row] = bench.backend.message(queue_id).recipients
    assert (row.state, row.hold_reason, row.last_text) == (RecipientState.HELD, "look first", "deferred")


def test_what_cannot_be_read_is_put_aside_until_an_operator_lets_it_go(bench: Bench) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    bench.settle_all(lease, Fate.QUARANTINED)
    assert bench.claim(NOW + 100 * HOUR) == []
    [row] = bench.backend.message(queue_id).recipients
    assert row.state is RecipientState.QUARANTINED
    assert bench.backend.stats(NOW).quarantined == 1
    assert bench.backend.unhold(QueueFilter(ids=[queue_id]), NOW) == 1
    assert len(bench.claim()) == 1


def test_many_leases_are_settled_in_one_step_and_lost_ones_are_told(bench: Bench) -> None:
    bench.put("a@one.example")
    bench.put("b@two.example")
    leases = bench.claim()
    bench.backend.release(leases[0])
    settlements = [
        Settlement(lease, [outcome(lease.message.recipients[0].address, Fate.DELIVERED)], NOW + HOUR)
        for lease in leases
    ]
    assert bench.backend.settle(settlements, NOW) == [leases[0]]
    assert bench.backend.stats(NOW).recipients == 1


def test_what_has_left_is_found_in_the_history_until_it_is_forgotten(bench: Bench) -> None:
    queue_id = bench.put("a@one.example", "b@one.example")
    [lease] = bench.claim()
    outcomes = [outcome("a@one.example", Fate.DELIVERED), outcome("b@one.example", Fate.FAILED, 550, "no such user")]
    bench.backend.settle([Settlement(lease, outcomes, NOW + HOUR)], NOW)
    found = bench.backend.history(QueueFilter(domain="one.example"), 0, 10)
    assert {(one.address, one.fate, one.attempts) for one in found} == {
        ("a@one.example", Fate.DELIVERED, 1), ("b@one.example", Fate.FAILED, 1),
    }  # fmt: skip
    assert [one.text for one in bench.backend.history(QueueFilter(text="no such"), 0, 10)] == ["no such user"]
    assert len(bench.backend.attempts(queue_id)) == 2
    assert bench.backend.forget(NOW, 10) == 0
    assert bench.backend.forget(NOW + HOUR, 10) == 2
    assert bench.backend.history(QueueFilter(), 0, 10) == []
    assert bench.backend.attempts(queue_id) == []


def test_a_rule_holds_the_new_mail_it_means(bench: Bench) -> None:
    rule = bench.backend.add_rule(HoldRule(0, recipient="@one.example", reason="looked at first"))
    queue_id = bench.put("a@one.example", "b@two.example")
    rows = {row.address: row for row in bench.backend.message(queue_id).recipients}
    assert (rows["a@one.example"].state, rows["a@one.example"].hold_reason) == (RecipientState.HELD, "looked at first")
    assert rows["b@two.example"].state is RecipientState.DEFERRED
    assert bench.backend.remove_rule(rule.number).recipient == "@one.example"
    assert bench.backend.rules() == []
    with pytest.raises(QueueError, match=r"queue\.no_such_rule"):
        bench.backend.remove_rule(rule.number)


def test_another_route_makes_it_due(bench: Bench) -> None:
    queue_id = bench.put()
    [lease] = bench.claim()
    bench.settle_all(lease, Fate.DEFERRED)
    assert bench.backend.reroute(QueueFilter(ids=[queue_id]), "fallback", NOW) == 1
    [row] = bench.backend.message(queue_id).recipients
    assert (row.route, row.next_at) == ("fallback", NOW)


def test_the_more_urgent_goes_first(bench: Bench) -> None:
    bulk = bench.put("a@one.example", envelope=Envelope("alice@here.example", priority=Priority.BULK))
    person = bench.put("b@two.example")
    assert [lease.message.queue_id for lease in bench.claim()] == [person, bulk]


# --- pauses


def test_nothing_is_claimed_for_a_paused_domain_until_it_is_resumed(bench: Bench) -> None:
    bench.put("a@one.example", "b@two.example")
    bench.backend.pause(Pause("One.Example", "their server is moved", NOW))
    assert addresses(bench.claim()) == [["b@two.example"]]
    assert [(each.destination, each.reason) for each in bench.again().pauses()] == [
        ("one.example", "their server is moved")
    ]
    assert bench.backend.resume("ONE.example", NOW).reason == "their server is moved"
    assert addresses(bench.claim()) == [["a@one.example"]]
    with pytest.raises(QueueError, match=r"queue\.not_paused"):
        bench.backend.resume("one.example", NOW)


def test_a_paused_queue_hands_out_nothing_and_takes_in_all(bench: Bench) -> None:
    bench.put("a@one.example")
    (lease,) = bench.claim()
    bench.backend.pause(Pause("", "moving house", NOW))
    bench.put("b@two.example")
    assert bench.claim() == []
    bench.settle_all(lease, Fate.DELIVERED)  # what is under way is finished
    bench.backend.resume("", NOW)
    assert addresses(bench.claim()) == [["b@two.example"]]


def test_mail_that_outlived_its_time_in_a_pause_is_tried_a_day_longer(bench: Bench) -> None:
    queue_id = bench.put("a@one.example")
    bench.backend.pause(Pause("one.example", "", NOW))
    later = NOW + timedelta(days=30)
    bench.backend.resume("one.example", later)
    assert bench.backend.message(QueueId(queue_id)).expires_at == later + timedelta(days=1)


def test_holding_all_leaves_what_is_quarantined_where_it_is(bench: Bench) -> None:
    queue_id = bench.put("a@one.example")
    bench.settle_all(bench.claim()[0], Fate.QUARANTINED)
    assert bench.backend.hold(QueueFilter(), "wait") == 0
    assert bench.backend.message(QueueId(queue_id)).recipients[0].state is RecipientState.QUARANTINED


def test_the_message_is_read_in_pieces_as_it_is_stored(bench: Bench) -> None:
    queue_id = QueueId(bench.put())
    pieces = [bench.backend.content(queue_id, offset, 40) for offset in range(0, len(MESSAGE) + 40, 40)]
    assert b"".join(pieces) == MESSAGE
    with pytest.raises(QueueError, match=r"queue\.no_such_id"):
        bench.backend.content(QueueId("nothing"), 0, 40)


# --- putting off a whole destination


def test_a_destination_is_put_off_in_order_and_no_try_is_counted(bench: Bench) -> None:
    first = bench.put("a@dead.example")
    second = bench.put("b@dead.example")
    bench.put("c@well.example")
    until = NOW + timedelta(minutes=5)
    assert bench.backend.postpone("dead.example", until, "passed over", gap_seconds=2.0, most_seconds=60.0) == 2
    rows = [bench.backend.message(QueueId(queue_id)).recipients[0] for queue_id in (first, second)]
    assert [row.next_at for row in rows] == [until, until + timedelta(seconds=2)]
    assert [(row.attempts, row.hold_reason) for row in rows] == [(0, "passed over")] * 2
    assert addresses(bench.claim(NOW + timedelta(minutes=4))) == [["c@well.example"]]
    assert addresses(bench.claim(until)) == [["a@dead.example"]]


def test_putting_off_spreads_no_further_than_told_and_moves_nothing_forward(bench: Bench) -> None:
    ids = [bench.put(f"{number}@dead.example") for number in range(4)]
    bench.put("late@dead.example", due_at=NOW + HOUR)
    until = NOW + timedelta(minutes=5)
    assert bench.backend.postpone("dead.example", until, "why", gap_seconds=10.0, most_seconds=15.0) == 4
    planned = [bench.backend.message(QueueId(queue_id)).recipients[0].next_at - until for queue_id in ids]
    assert [each.total_seconds() for each in planned] == [0.0, 10.0, 15.0, 15.0]


def test_nothing_is_put_off_beyond_its_last_chance(bench: Bench) -> None:
    queue_id = QueueId(bench.put("a@dead.example"))
    expires_at = bench.backend.message(queue_id).expires_at
    late = expires_at - timedelta(minutes=3)
    bench.backend.postpone("dead.example", late + timedelta(minutes=5), "why", gap_seconds=1.0, most_seconds=60.0)
    [row] = bench.backend.message(queue_id).recipients
    assert row.next_at == expires_at - timedelta(minutes=1)


def test_held_leased_local_and_otherwise_routed_mail_is_not_put_off(bench: Bench) -> None:
    bench.put("held@dead.example")
    bench.backend.hold(QueueFilter(recipient="held@dead.example"))
    bench.put("leased@dead.example")
    bench.claim()
    bench.put(NewRecipient("local@dead.example", "local"))
    bench.put("routed@dead.example")
    bench.backend.reroute(QueueFilter(recipient="routed@dead.example"), "relay", NOW)
    until = NOW + HOUR
    assert bench.backend.postpone("dead.example", until, "why", gap_seconds=1.0, most_seconds=60.0) == 0
    assert bench.backend.postpone("dead.example", until, "why", route="relay", gap_seconds=1.0, most_seconds=60.0) == 1


def test_a_message_that_cannot_be_stored_spoils_none_that_come_with_it(bench: Bench) -> None:
    def one(number: int) -> bool:
        try:
            bench.put(f"bob{number}@there.example" if number % 4 else "bad\udcff@there.example")
        except UnicodeEncodeError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [bool(number % 4) for number in range(24)]
    assert bench.backend.stats(NOW).recipients == 18


def test_the_less_urgent_has_its_share(bench: Bench) -> None:
    bulk = Envelope("list@here.example", priority=Priority.BULK)
    for number in range(4):
        put(bench.backend, bench.spool, NOW - HOUR, [f"u@b{number}.example"], envelope=bulk)
    for number in range(40):
        bench.put(f"u@p{number}.example")
    kinds = [lease.message.envelope.priority for lease in bench.claim(limit=20)]
    assert kinds.count(Priority.BULK) >= 2  # though twice as many urgent ones wait
    assert kinds.count(Priority.PERSON) >= 12


def test_late_is_what_waits_for_long_and_was_not_told(bench: Bench) -> None:
    """RFC 3461 4.1 DELAY: the mark is made without an outcome, changes nothing else and survives."""
    late = QueueFilter(state=RecipientState.DEFERRED, late_seconds=4 * HOUR.total_seconds())
    old = put(bench.backend, bench.spool, NOW, ["a@there.example", "b@other.example"])
    put(bench.backend, bench.spool, NOW, ["later@there.example"], due_at=NOW + HOUR)
    put(bench.backend, bench.spool, NOW + HOUR, ["young@there.example"])
    held = put(bench.backend, bench.spool, NOW, ["held@there.example"])
    bench.backend.hold(QueueFilter(ids=[held]), "looked at")
    now = NOW + 4 * HOUR
    leases = bench.backend.take(late, now, 60)
    assert {one.address for lease in leases for one in lease.message.recipients} == {
        "a@there.example",
        "b@other.example",
    }
    before = {one.address: one for lease in leases for one in lease.message.recipients}
    told = [
        Settlement(lease, (), now, delay_told=[one.address for one in lease.message.recipients]) for lease in leases
    ]
    assert not bench.backend.settle(told, now)
    assert not bench.backend.take(late, now, 60)
    for one in bench.again().message(old).recipients:
        assert (one.delay_told, one.state, one.attempts) == (True, RecipientState.DEFERRED, 0)
        assert one.next_at == before[one.address].next_at


def test_what_is_let_go_before_the_time_its_sender_chose_waits_for_that_time(bench: Bench) -> None:
    put(bench.backend, bench.spool, NOW, ["bob@there.example"], due_at=NOW + HOUR)
    bench.backend.hold(QueueFilter(), "look first")
    assert bench.backend.unhold(QueueFilter(), NOW) == 1
    assert bench.backend.next_due_at() == NOW + HOUR
    bench.backend.retry(QueueFilter(), NOW)  # an operator who wants it gone at once says so
    assert bench.backend.next_due_at() == NOW
