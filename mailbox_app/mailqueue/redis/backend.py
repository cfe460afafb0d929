"""The queue in Redis: the backend that several nodes share.

Every change is one script, so it happens whole or not at all, and is on Redis' disk when the call returns
(`durability.py` says whether the server is set up so). Redis' clock ends leases, whatever the nodes' clocks say;
those a node still works on are prolonged each time it claims, and after an outage in which nobody could do that none ends
for a while. A lease's token names node and process: a node puts back at once what its own dead processes held. What may be
asked twice because an answer was lost is known as such: messages by their id, settlements by their token, claims by the
names of their leases.
Trouble is a temporary `QueueError`, at once while Redis is known to be away.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC, Bus
from mailbox_app.ids import QueueId, new_queue_id
from mailbox_app.mailqueue.hold_rules import held_from_start
from mailbox_app.mailqueue.holders import holder_lives, new_token
from mailbox_app.mailqueue.model import (
    Envelope,
    Fate,
    HoldRule,
    Lease,
    NewRecipient,
    Outcome,
    Priority,
    QueueFilter,
    RecipientState,
    Settlement,
    read_time,
)
from mailbox_app.mailqueue.redis.access import APPEND, CLAIM, ENQUEUE, POSTPONE, RELEASE, SETTLE, TAKE
from mailbox_app.mailqueue.redis.bodies import PIECE_BYTES, RedisBodies
from mailbox_app.mailqueue.redis.filters import search_of
from mailbox_app.mailqueue.redis.operators import RedisOperators
from mailbox_app.mailqueue.redis.rows import (
    DAMAGED,
    encode,
    new_record,
    read_envelope,
    read_message,
    read_recipient,
    read_rules,
    write_envelope,
)
from mailbox_app.mailqueue.schedule import LAST_TRY_BEFORE_EXPIRY, LIFETIME
from mailbox_app.mailqueue.spool import Spool, SpoolFile

_TAKEN_AT_ONCE = 200
"""Each gets a local copy of its message."""
_LOOSE_SECONDS = 3_600.0
_OUTAGE_SECONDS = 120.0
"""When no node has been heard for so long, Redis was away: for half that time no lease ends."""
_LEASES_AT_ONCE = 500
_POSTPONED_AT_ONCE = 10_000
_AWAY = timedelta(minutes=1)
_NOT_MOUNTED = "the shared directory with this message is not there now"
"""It is not lost, and other nodes may have it."""
_FETCHED_BYTES = 1 << 22
"""Of messages in memory at once; one that is larger comes alone."""


class RedisQueue(RedisOperators):
    """The backend over Redis; any number of nodes and processes may enqueue and run.

    `node` is this machine's name among them, `former` are names it had before. `caller_time`: leases end by the time that
    `claim` is told instead of the server's, for tests that own the time.
    """

    def __init__(
        self,
        link: RedisLink,
        spool: Spool,
        bus: Bus,
        clock: Clock | None = None,
        *,
        node: str,
        former: Sequence[str] = (),
        shared: Path | None = None,
        body_bytes: int = 1 << 20,
        replicas: int = 0,
        caller_time: bool = False,
    ) -> None:
        super().__init__(link, RedisBodies(spool.directory, shared, body_bytes), bus, clock, replicas)
        self._spool = spool
        self._node = node
        self._former = list(former)
        self._caller_time = caller_time
        self._rules: tuple[str, Sequence[HoldRule]] = ("0", ())
        self._turn = 0
        """One lease in four goes to what is due for the longest time, so that urgent mail never stops all other."""
        self._lost_lock = threading.Lock()
        self._lost: list[tuple[str, int]] = []
        """Names of leases whose answer never came: nobody works on them."""

    def enqueue(
        self,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        spool: SpoolFile,
        now: datetime,
        *,
        due_at: datetime | None = None,
    ) -> QueueId:
        """Take the spool file's bytes and make all rows, due at once or at `due_at`; durable on return."""
        queue_id = new_queue_id()
        try:
            file, inline, is_loose = self._store_body(queue_id, spool, now)
            due = (due_at or now).timestamp()
            expires = ((due_at or now) + LIFETIME).timestamp()
            head = (spool.size_bytes, now.timestamp(), expires, file, int(is_loose))
            self._insert(queue_id, envelope, recipients, head, due, inline)
        finally:  # a shared file stays when it is not known whether its message does: `recover` looks after an hour
            self._spool.discard(spool.path)
        self._bus.publish(QUEUE_TOPIC)
        return queue_id

    def _store_body(self, queue_id: QueueId, spool: SpoolFile, now: datetime) -> tuple[str, bytes, bool]:
        """The shared file's name, or the bytes when they are few, or whether they are in Redis already."""
        if self._bodies.goes_to_shared(spool.size_bytes):
            return self._bodies.share(spool.path, queue_id), b"", False
        try:
            with open(spool.path, "rb") as file:
                if spool.size_bytes <= PIECE_BYTES:
                    return "", file.read(), False
                self._command("ZADD", self._key("loose"), now.timestamp(), queue_id)
                for count, piece in enumerate(iter(partial(file.read, PIECE_BYTES), b"")):
                    self._run(APPEND, queue_id, count, piece)
        except OSError as error:
            raise QueueError("queue.unreadable", "the message's file cannot be read", temporary=True) from error
        return "", b"", True

    def _insert(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        recipients: Sequence[NewRecipient],
        head: tuple[object, ...],
        due: float,
        inline: bytes,
    ) -> None:
        priority = int(envelope.priority)
        packed = write_envelope(envelope)
        for _ in range(10):
            version, rules = self._rules
            rows = [
                (new.address, new.address.lower(), new_record(new, held, due, priority, self._node))
                for new, held in held_from_start(rules, envelope, recipients)
            ]
            message = (queue_id, envelope.sender, envelope.submitter, version, *head, *rows)
            answer = self._run_durably(ENQUEUE, encode(message), packed, inline)
            if answer[0] != b"rules":
                return
            self._rules = (answer[1].decode(), read_rules(answer[2]))  # they have changed since we looked
        raise QueueError("queue.busy", "the queue is busy", temporary=True)

    # runners

    def recover(self, now: datetime) -> int:
        """At a runner's start: put back leases of this node's dead processes, remove orphan copies; how many leases."""
        self._bodies.sweep()
        self._spool.sweep(self._bodies)
        tokens = self._command("ZRANGE", self._key("leases"), 0, -1)
        own = [token.partition("/")[2] for token in map(bytes.decode, tokens) if token.startswith(self._node + "/")]
        dead = [f"{self._node}/{holder}" for holder in own if not holder_lives(holder)]
        count = 0
        for start in range(0, len(dead), _LEASES_AT_ONCE):
            count += int(self._run(RELEASE, *dead[start : start + _LEASES_AT_ONCE]))
        self._sweep_loose(now)
        return count

    def _sweep_loose(self, now: datetime) -> None:
        """Bodies whose message never came: a process died while it stored a large one."""
        limit = now.timestamp() - _LOOSE_SECONDS
        loose = self._key("loose")
        ids = [each.decode() for each in self._command("ZRANGEBYSCORE", loose, "-inf", limit)]
        for queue_id, is_known in zip(ids, self._known(ids), strict=True):
            if not is_known:
                self._command("DEL", self._key(f"b:{queue_id}"))
            self._command("ZREM", loose, queue_id)
        files = self._bodies.old_shared(_LOOSE_SECONDS)
        self._bodies.unshare(file for file, is_known in zip(files, self._known(files), strict=True) if not is_known)

    def _known(self, ids: Sequence[str]) -> list[int]:
        return self._commands([("EXISTS", self._key(f"m:{queue_id}")) for queue_id in ids])

    def claim(
        self,
        now: datetime,
        *,
        limit: int,
        lease_seconds: float,
        running: Mapping[str, int] | None = None,
        per_destination: int = 5,
        held: Sequence[str] = (),
    ) -> Sequence[Lease]:
        """Due recipients, grouped by message and destination, oldest first, at most `per_destination` leases each.

        `running` counts the leases this caller already works on. Leases with `held` tokens do not run out.
        """
        base, lost = self._lease_name(), self._lost_leases()
        arguments = (
            now.timestamp(), self._lease_time(now), self._node, base, limit, lease_seconds, per_destination, list(held),
            list((running or {}).items()), lost, _OUTAGE_SECONDS, self._turn, self._former,
        )  # fmt: skip
        leases = self._lease(CLAIM, arguments, base, limit, lost)
        self._turn += len(leases)
        return leases

    def next_due_at(self) -> datetime | None:
        """When the next deferred recipient is due or a lease runs out; None when nothing waits."""
        firsts = self._commands([("ZRANGE", self._key(key), 0, 0, "WITHSCORES") for key in ("due", "leases")])
        return min((read_time(float(first[1])) for first in firsts if first), default=None)

    def settle(self, settlements: Sequence[Settlement], now: datetime) -> Sequence[Lease]:
        """Record one outcome per leased recipient, for all settlements in one durable step; the leases already lost."""
        if not settlements:
            return ()
        given = []
        for settlement in settlements:
            outcomes = [
                (done.address, done.fate.value, done.code, done.enhanced, done.text, done.host, done.tls,
                 done.duration_seconds, (done.retry_at or settlement.next_at).timestamp())
                for done in settlement.outcomes
            ]  # fmt: skip
            given.append((settlement.lease.token, outcomes, list(settlement.delay_told)))
        lost, files = self._run_durably(SETTLE, encode((now.timestamp(), *given)))
        for settlement in settlements:
            self._bodies.leave(settlement.lease.token)
        self._bodies.unshare(file.decode() for file in files)
        return [settlements[int(index)].lease for index in lost]

    def release(self, lease: Lease) -> None:
        """Put leased recipients back as they were (shutdown)."""
        self._run(RELEASE, lease.token)
        self._bodies.leave(lease.token)

    def take(self, where: QueueFilter, now: datetime, lease_seconds: float) -> Sequence[Lease]:
        """Lease matching recipients (not active ones) whatever their time, at most 200: repeat until none is left."""
        search = replace(search_of(where, now), waiting_only=True)
        found = self._named(where, search) if where.ids else self._scan(search, _TAKEN_AT_ONCE)
        names = list(islice(found, _TAKEN_AT_ONCE))
        base, lost = self._lease_name(), self._lost_leases()
        arguments = (self._lease_time(now), lease_seconds, base, names, lost)
        return self._lease(TAKE, arguments, base, len(names), lost)

    def postpone(
        self,
        destination: str,
        until: datetime,
        reason: str,
        *,
        route: str = "",
        gap_seconds: float,
        most_seconds: float,
    ) -> int:
        """See `QueueBackend`; in pieces, so that Redis serves others in between."""
        names: list[bytes] = []
        for priority in Priority:
            due = self._key(f"due:{int(priority)}:{destination}")
            names += self._command(
                "ZRANGEBYSCORE", due, "-inf", f"({until.timestamp()}", "LIMIT", 0, _POSTPONED_AT_ONCE
            )
        count, before = 0, LAST_TRY_BEFORE_EXPIRY.total_seconds()
        for start in range(0, min(len(names), _POSTPONED_AT_ONCE), _LEASES_AT_ONCE):
            some = names[start : start + _LEASES_AT_ONCE]
            arguments = (until.timestamp(), reason, route, gap_seconds, most_seconds, before, count)
            count = int(self._run(POSTPONE, *arguments, *some))
        return count

    def _lease_name(self) -> str:
        return f"{self._node}/{new_token()}{secrets.token_hex(2)}"

    def _lease_time(self, now: datetime) -> object:
        return now.timestamp() if self._caller_time else ""

    def _lost_leases(self) -> list[tuple[str, int]]:
        with self._lost_lock:
            lost, self._lost = self._lost, []
        return lost

    def _lease(
        self, script: Any, arguments: tuple[object, ...], base: str, limit: int, lost: list[tuple[str, int]]
    ) -> Sequence[Lease]:
        try:
            answer = self._run(script, encode(arguments))
        except QueueError:
            with self._lost_lock:  # put back by the next claim, whether they were made or not
                self._lost += [*lost, (base, limit)]
            raise
        return self._materialise(answer)

    def _materialise(self, answer: Sequence[Any]) -> Sequence[Lease]:
        """The leases, each with a local file of its message."""
        leases: list[Lease] = []
        away: list[Lease] = []
        damaged: list[Lease] = []
        wanted: dict[str, int] = {}
        for token, queue_id, fields, given, until in answer:
            identity = queue_id.decode()
            recipients = [
                read_recipient(identity, address.decode(), record)
                for address, record in zip(given[::2], given[1::2], strict=True)
            ]
            message = read_message(identity, fields, recipients)
            if message is None:  # the scripts lease nothing without an envelope
                raise QueueError("queue.damaged", "a message's envelope is lost", temporary=True)
            path = self._bodies.shared_path(fields[4].decode()) if fields[4] else self._bodies.path(identity)
            lease = Lease(token.decode(), message, path, read_time(float(until)))
            if read_envelope(fields[0]) is None or any(row.state is not RecipientState.ACTIVE for row in recipients):
                damaged.append(lease)
                continue
            if not fields[4] and not self._bodies.use(token.decode(), identity):
                wanted[identity] = message.size_bytes
            if fields[4] and self._bodies.is_away(fields[4].decode()):
                away.append(lease)
            else:
                leases.append(lease)
        try:
            self._return(damaged, Fate.QUARANTINED, DAMAGED)
            self._return(away, Fate.POSTPONED, _NOT_MOUNTED)
            self._fetch(wanted)
        except QueueError:
            self._give_back([*leases, *away, *damaged])
            raise
        return leases

    def _return(self, leases: Sequence[Lease], fate: Fate, text: str) -> None:
        """Leases that nobody can work on here now."""
        now = self._clock.now()
        settlements = [
            Settlement(
                lease,
                [Outcome(row.address, fate, 451, "4.3.0", text) for row in lease.message.recipients],
                now + _AWAY,
            )
            for lease in leases
        ]
        self.settle(settlements, now)

    def _fetch(self, wanted: Mapping[str, int]) -> None:
        """Copies of these messages; one that is lost gets none, and whoever reads it says so."""
        waiting = dict(wanted)
        while waiting:
            some: list[str] = []
            room = _FETCHED_BYTES
            while waiting and (not some or room > 0):
                queue_id, size_bytes = waiting.popitem()
                some.append(queue_id)
                room -= size_bytes
            answers = self._commands([("LRANGE", self._key(f"b:{queue_id}"), 0, -1) for queue_id in some])
            for queue_id, pieces in zip(some, answers, strict=True):
                if pieces:
                    self._bodies.write(queue_id, pieces)

    def _give_back(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._bodies.leave(lease.token)
        with self._lost_lock:
            for lease in leases:
                base, _, number = lease.token.rpartition(".")
                self._lost.append((base, int(number)))
