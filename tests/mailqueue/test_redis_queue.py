"""What only the queue in Redis must keep: nodes, the server's clock, lost answers, a server that goes away, large messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as NoConnection

from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Fate, HoldRule, Lease, NewRecipient, QueueFilter, RecipientState, Settlement
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.redis.bodies import PIECE_BYTES
from mailbox_app.mailqueue.spool import Spool
from tests.support.clock import FakeClock
from tests.support.queue import MESSAGE, RecordingBus, outcome, put
from tests.support.redis import RedisServer
from tests.support.redis_queue import redis_queue

HOUR = timedelta(hours=1)
PREFIX = "mailbox:queue:"


def now() -> datetime:
    return datetime.now(UTC)


class Cluster:
    """Nodes with a folder each and one Redis."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = RedisServer(directory / "redis").start()
        self.shared = directory / "shared"
        self.shared.mkdir()
        self.clock = FakeClock()
        self._opened: list[RedisQueue] = []

    def spool(self, node: str) -> Spool:
        return Spool(self.directory / node, durable=False)

    def node(self, name: str = "one", **rest: Any) -> RedisQueue:
        self._opened.append(redis_queue(self.server, self.spool(name), RecordingBus(), self.clock, node=name, **rest))
        return self._opened[-1]

    def put(self, queue: RedisQueue, *recipients: str, content: bytes = MESSAGE) -> QueueId:
        return put(queue, Spool(self.directory / "in"), now(), recipients or ("bob@there.example",), content=content)

    def close(self) -> None:
        for queue in self._opened:
            queue.close()
        self.server.destroy()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


def claim(queue: QueueBackend, **rest: Any) -> list[Lease]:
    return list(queue.claim(now(), limit=10, lease_seconds=600, **rest))


def delivered(lease: Lease) -> Settlement:
    outcomes = [outcome(recipient.address, Fate.DELIVERED) for recipient in lease.message.recipients]
    return Settlement(lease, outcomes, now() + HOUR)


def cut_after(queue: RedisQueue, monkeypatch: pytest.MonkeyPatch, times: int = 1, *, in_a_row: bool = True) -> None:
    """The server does what it is told, and of the next so many answers all or every second one get lost."""
    client = queue._link._client
    ask = client.execute_command
    left = [times]

    def lossy(*args: Any, **options: Any) -> Any:
        answer = ask(*args, **options)
        left[0] -= 1
        if left[0] >= 0 and (in_a_row or left[0] % 2):
            raise NoConnection("the answer got lost")
        return answer

    monkeypatch.setattr(client, "execute_command", lossy)


# --- leases


def test_leases_run_out_by_the_servers_clock_not_by_the_nodes(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    cluster.put(one)
    [lease] = claim(one)
    assert abs((lease.until - now()).total_seconds() - 600) < 60
    far = now() + timedelta(days=3)  # a node whose clock is wrong takes nobody's lease
    assert list(two.claim(far, limit=10, lease_seconds=600)) == []
    cluster.server.client().zadd(PREFIX + "leases", {lease.token: 1})
    [other] = claim(two)
    assert one.settle([delivered(lease)], now()) == [lease]
    assert two.settle([delivered(other)], now()) == []


def test_what_a_node_works_on_is_prolonged_when_it_claims_and_only_that(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    cluster.put(one, "a@one.example", "b@two.example")
    held, dropped = claim(one)
    cluster.server.client().zadd(PREFIX + "leases", {held.token: 1, dropped.token: 1})
    assert [lease.message.recipients[0].address for lease in claim(one, held=[held.token])] == [
        dropped.message.recipients[0].address
    ]
    assert claim(two) == []
    assert one.settle([delivered(held)], now()) == []


def test_no_lease_ends_right_after_a_time_in_which_nobody_reached_redis(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    cluster.put(one)
    [lease] = claim(one)
    client = cluster.server.client()
    client.zadd(PREFIX + "leases", {lease.token: 1})
    client.hset(PREFIX + "nodes", mapping={"one": 1, "two": 1})  # heard in 1970, both of them
    assert claim(two) == []
    assert one.settle([delivered(lease)], now()) == []


def test_a_node_puts_back_what_its_own_dead_processes_held_and_nothing_of_others(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    cluster.put(one, "a@one.example", "b@two.example")
    dead, living = claim(one)
    client = cluster.server.client()
    ghost = "one/4000000.1:dead.1"
    client.rename(PREFIX + "lease:" + dead.token, PREFIX + "lease:" + ghost)
    client.zrem(PREFIX + "leases", dead.token)
    client.zadd(PREFIX + "leases", {ghost: now().timestamp() + 600, "two/4000000.1:dead.1": now().timestamp() + 600})
    assert one.recover(now()) == 1
    assert [token.decode() for token in client.zrange(PREFIX + "leases", 0, -1) if token.startswith(b"two/")]
    assert two.recover(now()) == 0
    assert [token.decode() for token in client.zrange(PREFIX + "leases", 0, -1)] == [living.token]
    assert one.settle([delivered(living)], now()) == []


def test_mail_for_a_nodes_own_mailboxes_is_delivered_by_that_node_only(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    spool = Spool(cluster.directory / "in")
    put(one, spool, now(), [NewRecipient("local@here.example", "local"), NewRecipient("far@here.example")])
    assert [[row.address for row in lease.message.recipients] for lease in claim(two)] == [["far@here.example"]]
    [lease] = claim(one)
    assert [row.address for row in lease.message.recipients] == ["local@here.example"]
    one.settle([Settlement(lease, [outcome("local@here.example", Fate.DEFERRED)], now())], now())
    assert claim(two) == []
    assert len(claim(one)) == 1


def test_a_renamed_node_delivers_what_came_in_under_its_old_name_unless_somebody_else_has_it(cluster: Cluster) -> None:
    old, new = cluster.node("old"), cluster.node("new", former=["old"])
    put(old, Spool(cluster.directory / "in"), now(), [NewRecipient("local@here.example", "local")])
    client = cluster.server.client()
    client.hset(PREFIX + "nodes", "old", now().timestamp())
    assert claim(new) == []
    client.hset(PREFIX + "nodes", "old", now().timestamp() - 900)
    assert len(claim(new)) == 1


# --- lost answers


def test_a_message_whose_answer_got_lost_is_there_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = cluster.node()
    queue.problems()
    cut_after(queue, monkeypatch)
    queue_id = cluster.put(queue)
    assert queue.stats(now()).messages == 1
    assert queue.message(queue_id).recipients


def test_a_large_message_whose_answers_got_lost_is_whole(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = cluster.node()
    content = bytes(range(256)) * (3 * PIECE_BYTES // 256) + b"end"
    queue.problems()
    cut_after(queue, monkeypatch, 12, in_a_row=False)
    cluster.put(queue, content=content)
    [lease] = claim(queue)
    assert Path(lease.spool_path).read_bytes() == content


def test_a_settlement_whose_answer_got_lost_is_neither_lost_nor_repeated(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = cluster.node()
    queue_id = cluster.put(queue)
    [lease] = claim(queue)
    cut_after(queue, monkeypatch)
    assert queue.settle([delivered(lease)], now()) == []
    assert queue.settle([delivered(lease)], now()) == []
    assert len(queue.attempts(queue_id)) == 1
    assert len(queue.history(QueueFilter(ids=[queue_id]), 0, 10)) == 1


def test_a_claim_whose_answer_got_lost_leases_the_same_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = cluster.node()
    cluster.put(queue, "a@one.example", "b@two.example")
    cut_after(queue, monkeypatch)
    assert len(claim(queue)) == 2
    for lease in cluster.node("again").take(QueueFilter(), now(), 600):
        raise AssertionError(lease)


def test_a_claim_that_never_got_an_answer_is_undone_by_the_next(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = cluster.node()
    cluster.put(queue, "a@one.example", "b@two.example")
    with monkeypatch.context() as patch:
        cut_after(queue, patch, 2)
        with pytest.raises(QueueError):
            claim(queue)
    cluster.clock.skip(60)
    assert len(claim(queue)) == 2


# --- a server that goes away


def test_without_redis_everything_is_temporary_and_quick_and_goes_on_when_it_is_back(cluster: Cluster) -> None:
    queue = cluster.node()
    kept = cluster.put(queue)
    [lease] = claim(queue)
    cluster.server.kill()
    calls: list[Callable[[], object]] = [
        lambda: cluster.put(queue),
        lambda: queue.claim(now(), limit=1, lease_seconds=60),
        lambda: queue.settle([delivered(lease)], now()),
        lambda: queue.stats(now()),
        lambda: queue.window(QueueFilter(), "age", False, 0, 10),
        queue.next_due_at,
        queue.rules,
    ]
    for call in calls:
        with pytest.raises(QueueError, match=r"queue\.unreachable") as caught:
            call()
        assert caught.value.temporary
    assert list((cluster.directory / "in").iterdir()) == []  # nothing refused is left behind
    cluster.server.start()
    cluster.clock.skip(60)
    assert queue.message(kept).recipients[0].state is RecipientState.ACTIVE
    assert queue.settle([delivered(lease)], now()) == []
    assert queue.stats(now()).messages == 0


def test_a_server_that_hangs_is_given_up_soon(cluster: Cluster) -> None:
    queue = cluster.node()
    cluster.put(queue)
    cluster.server.freeze()
    try:
        with pytest.raises(QueueError, match=r"queue\.unreachable"):
            queue.stats(now())
    finally:
        cluster.server.thaw()
    cluster.clock.skip(60)
    assert queue.stats(now()).messages == 1


def test_a_full_memory_refuses_new_mail_for_a_while_and_lets_what_waits_go(cluster: Cluster) -> None:
    queue = cluster.node()
    cluster.put(queue)
    client = cluster.server.client()
    client.config_set("maxmemory", 1)
    with pytest.raises(QueueError, match=r"queue\.full") as caught:
        cluster.put(queue)
    assert caught.value.temporary
    [lease] = claim(queue)
    assert queue.settle([delivered(lease)], now()) == []
    client.config_set("maxmemory", 0)
    cluster.put(queue)
    assert queue.stats(now()).messages == 1


def test_weak_settings_are_told(cluster: Cluster) -> None:
    queue = cluster.node()
    assert queue.problems() == []
    client = cluster.server.client()
    client.config_set("appendfsync", "everysec")
    client.config_set("maxmemory-policy", "allkeys-lru")
    cluster.clock.skip(120)
    told = " ".join(queue.problems())
    assert "maxmemory-policy noeviction" in told
    client.config_set("appendonly", "no")
    cluster.clock.skip(120)
    assert "appendonly yes" in " ".join(queue.problems())


def test_mail_that_too_few_replicas_have_is_not_accepted(cluster: Cluster) -> None:
    queue = cluster.node(replicas=1)
    with pytest.raises(QueueError, match=r"queue\.not_durable"):
        cluster.put(queue)


def test_a_result_that_too_few_replicas_have_is_told_again_until_they_do(cluster: Cluster) -> None:
    careful, plain = cluster.node(replicas=1), cluster.node("two")
    cluster.put(plain)
    [lease] = claim(careful)
    for _ in range(2):
        with pytest.raises(QueueError, match=r"queue\.not_durable"):
            careful.settle([delivered(lease)], now())
    assert plain.settle([delivered(lease)], now()) == []  # it is not lost either
    assert len(plain.history(QueueFilter(), 0, 10)) == 1


# --- bodies


def test_large_messages_are_in_redis_in_pieces_or_in_the_shared_directory(cluster: Cluster) -> None:
    content = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"end"
    for queue in (cluster.node("one"), cluster.node("two", shared=cluster.shared, body_bytes=PIECE_BYTES)):
        queue_id = cluster.put(queue, content=content)
        assert queue.content(queue_id, PIECE_BYTES - 10, 20) == content[PIECE_BYTES - 10 : PIECE_BYTES + 10]
        assert queue.content(queue_id, 2 * PIECE_BYTES, 100) == b"end"
        [lease] = claim(queue)
        assert Path(lease.spool_path).read_bytes() == content
        assert Path(lease.spool_path).stat().st_mode & 0o777 == 0o600
        queue.settle([delivered(lease)], now())
        assert not Path(lease.spool_path).exists()
    assert [path.name for path in cluster.shared.iterdir()] == [".mailbox-queue"]
    assert cluster.server.client().keys(PREFIX + "b:*") == []


def test_a_shared_directory_that_is_not_mounted_puts_its_messages_off(cluster: Cluster) -> None:
    queue = cluster.node("one", shared=cluster.shared, body_bytes=10)
    queue_id = cluster.put(queue)
    away = cluster.directory / "away"
    cluster.shared.rename(away)
    assert claim(queue) == []
    [row] = queue.message(queue_id).recipients
    assert (row.state, row.attempts) == (RecipientState.DEFERRED, 0)
    assert "shared directory" in row.hold_reason
    assert "cannot be used" in " ".join(queue.problems())
    with pytest.raises(QueueError) as caught:
        cluster.put(queue)
    assert caught.value.temporary
    away.rename(cluster.shared)
    cluster.clock.skip(3600)
    queue.retry(QueueFilter(), now())
    [lease] = claim(queue)
    assert Path(lease.spool_path).read_bytes() == MESSAGE


def test_leases_of_one_message_share_a_copy_that_goes_with_the_last(cluster: Cluster) -> None:
    queue = cluster.node()
    cluster.put(queue, "a@one.example", "b@two.example")
    first, second = claim(queue)
    queue.settle([delivered(first)], now())
    assert Path(second.spool_path).read_bytes() == MESSAGE
    queue.release(second)
    assert not Path(second.spool_path).exists()


def test_copies_of_dead_processes_are_removed_at_the_start(cluster: Cluster) -> None:
    queue = cluster.node()
    cluster.put(queue)
    [lease] = claim(queue)
    left = cluster.directory / "one" / ".copy-4000000.1-beef-0123456789abc"
    left.write_bytes(b"x")
    queue.recover(now())
    assert not left.exists()
    assert Path(lease.spool_path).exists()


def test_nothing_is_left_in_redis_when_all_has_gone_and_is_forgotten(cluster: Cluster) -> None:
    queue = cluster.node()
    cluster.put(queue, "Bob@There.example", "b@two.example")
    for lease in claim(queue):
        queue.settle([delivered(lease)], now())
    queue.forget(now() + HOUR, 100)
    left = {key.decode().removeprefix(PREFIX).partition(":")[0] for key in cluster.server.client().keys("*")}
    assert left == {"settled", "nodes"}


# --- operators


def test_rules_that_another_node_made_hold_at_once(cluster: Cluster) -> None:
    one, two = cluster.node("one"), cluster.node("two")
    cluster.put(two)
    rule = one.add_rule(HoldRule(0, sender="@here.example", reason="look"))
    assert two.message(cluster.put(two)).recipients[0].state is RecipientState.HELD
    one.remove_rule(rule.number)
    assert two.message(cluster.put(two)).recipients[0].state is RecipientState.DEFERRED


def test_a_long_queue_is_looked_through_in_pieces(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.mailqueue.redis.operators._BUDGET", 1_000)
    monkeypatch.setattr("mailbox_app.mailqueue.redis.operators._SORTED_AT_ONCE", 10)
    queue = cluster.node()
    for number in range(3):
        cluster.put(queue, *(f"r{each:04}@d{number}.example" for each in range(900)))
    assert queue.window(QueueFilter(text="r0899"), "next", False, 0, 10)[0] == 3
    total, rows, _ = queue.window(QueueFilter(domain="d1.example"), "recipient", True, 895, 10)
    assert (total, [row.address for row in rows]) == (900, [f"r{each:04}@d1.example" for each in (4, 3, 2, 1, 0)])
    assert len(queue.matching(QueueFilter(), 2_500)) == 2_500
    assert queue.hold(QueueFilter(text="@d2.example"), "why") == 900
    assert queue.stats(now()).held == 900


# --- damage


def field_of(client: Any, queue_id: QueueId) -> bytes:
    [address] = client.hkeys(f"{PREFIX}r:{queue_id}")
    return bytes(address)


@pytest.mark.parametrize("record", [b"\xc1garbage", b"", b"g", b"\x93\xa4smtp\xa1x\xa1y"])
def test_a_record_that_cannot_be_read_is_put_aside_and_stops_no_other(cluster: Cluster, record: bytes) -> None:
    queue, client = cluster.node(), cluster.server.client()
    broken, whole = cluster.put(queue), cluster.put(queue)
    client.hset(f"{PREFIX}r:{broken}", field_of(client, broken), record)
    assert queue.window(QueueFilter(), "age", False, 0, 10)[0] == 2  # it can be looked at before anything touched it
    assert queue.message(broken).recipients[0].state is RecipientState.QUARANTINED
    assert [lease.message.queue_id for lease in claim(queue)] == [whole]
    assert claim(queue) == []
    stats = queue.stats(now())
    assert (stats.quarantined, stats.active, stats.deferred) == (1, 1, 0)
    [row] = queue.message(broken).recipients
    assert row.state is RecipientState.QUARANTINED
    assert "cannot be read" in row.hold_reason
    assert queue.next_due_at() is not None  # that of the lease
    assert queue.unhold(QueueFilter(ids=[broken]), now()) == 1
    [lease] = claim(queue)
    assert lease.message.recipients[0].address == "bob@there.example"
    queue.settle([delivered(lease)], now())
    assert queue.stats(now()).quarantined == 0


@pytest.mark.parametrize("damage", ["envelope", "arrival", "message"])
def test_a_message_that_cannot_be_read_is_put_aside_and_stops_no_other(cluster: Cluster, damage: str) -> None:
    queue, client = cluster.node(), cluster.server.client()
    broken, whole = cluster.put(queue, "bob@there.example", "eve@there.example"), cluster.put(queue)
    if damage == "envelope":
        client.hset(f"{PREFIX}m:{broken}", "e", b"\xc1garbage")
    elif damage == "arrival":
        client.hset(f"{PREFIX}m:{broken}", "arr", b"yesterday")
    else:
        client.delete(f"{PREFIX}m:{broken}")
    assert [lease.message.queue_id for lease in claim(queue)] == [whole]
    assert queue.stats(now()).quarantined == 2
    shown = queue.message(broken)
    assert shown.envelope.sender == "alice@here.example"
    assert {row.state for row in shown.recipients} == {RecipientState.QUARANTINED}
    assert queue.window(QueueFilter(), "next", False, 0, 10)[0] == 3
    assert len(queue.take(QueueFilter(ids=[broken]), now(), 600)) == 1
    assert queue.stats(now()).quarantined == 0


def test_what_only_the_scripts_can_read_is_put_aside_too(cluster: Cluster) -> None:
    queue, client = cluster.node(), cluster.server.client()
    broken, whole = cluster.put(queue), cluster.put(queue)
    packed = msgspec.msgpack.decode(client.hget(f"{PREFIX}m:{broken}", "e"))
    client.hset(f"{PREFIX}m:{broken}", "e", msgspec.msgpack.encode([*packed[:9], 77, *packed[10:]]))
    assert [lease.message.queue_id for lease in claim(queue)] == [whole]
    assert queue.message(broken).recipients[0].state is RecipientState.QUARANTINED


def test_a_record_that_gets_damaged_during_its_delivery_spoils_no_settlement(cluster: Cluster) -> None:
    queue, client = cluster.node(), cluster.server.client()
    broken, whole = cluster.put(queue), cluster.put(queue)
    leases = claim(queue)
    client.hset(f"{PREFIX}r:{broken}", field_of(client, broken), b"\xc1")
    queue.settle([delivered(lease) for lease in leases], now())
    stats = queue.stats(now())
    assert (stats.recipients, stats.quarantined, stats.active) == (1, 1, 0)
    assert [one.queue_id for one in queue.history(QueueFilter(), 0, 10)] == [whole]
    assert queue.message(broken).recipients[0].state is RecipientState.QUARANTINED
