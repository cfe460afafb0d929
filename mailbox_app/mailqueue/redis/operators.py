"""What operators ask of the queue in Redis: look at it, change what waits, hold rules and pauses, the history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from mailbox_app.errors import QueueError
from mailbox_app.events.hints import QUEUE_TOPIC
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.hold_rules import MAX_PAUSES, MAX_RULES
from mailbox_app.mailqueue.interface import no_such_id
from mailbox_app.mailqueue.model import (
    Attempt,
    Finished,
    HoldRule,
    Pause,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    QueueStats,
    RecipientState,
    read_time,
)
from mailbox_app.mailqueue.redis.access import (
    ADD_RULE,
    CHANGE,
    EXTEND,
    FORGET,
    PAUSE,
    REMOVE_RULE,
    ROWS,
    SCAN,
    SIFT,
    WALK,
    RedisAccess,
)
from mailbox_app.mailqueue.redis.bodies import PIECE_BYTES
from mailbox_app.mailqueue.redis.filters import SORTS, Condition, Search, history_matches, search_of
from mailbox_app.mailqueue.redis.rows import (
    encode,
    name,
    page,
    read_attempt,
    read_finished,
    read_message,
    read_pause,
    read_recipient,
    read_rules,
    write_rule,
)
from mailbox_app.mailqueue.schedule import LIFETIME

_SORTED_AT_ONCE = 2_000
_LATE_SECONDS = 60.0
_RELEASED_LIFETIME = timedelta(days=1)
_NAMES_AT_ONCE = 500
"""Recipients one script changes: a few milliseconds in which Redis serves nobody else."""
_BUDGET = 10_000
"""Recipients one script looks at: ten milliseconds or so."""
_HISTORY_AT_ONCE = 500
_OLD_AT_ONCE = 200
"""Messages looked at one by one instead of the whole queue."""
_EVERYTHING = 1 << 40


class RedisOperators(RedisAccess):
    """The operators' half of `RedisQueue`."""

    def message(self, queue_id: QueueId) -> QueuedMessage:
        """With all waiting recipients; `queue.no_such_id`."""
        fields, records = self._commands(
            [("HMGET", self._key(f"m:{queue_id}"), "e", "size", "arr", "exp"), ("HGETALL", self._key(f"r:{queue_id}"))]
        )
        rows = [read_recipient(queue_id, address.decode(), record) for address, record in records.items()]
        message = read_message(queue_id, fields, sorted(rows, key=lambda row: row.address))
        if message is None:
            raise no_such_id()
        return message

    def attempts(self, queue_id: QueueId) -> Sequence[Attempt]:
        """The history, oldest first."""
        records = self._command("LRANGE", self._key(f"a:{queue_id}"), 0, -1)
        return [read_attempt(record) for record in records]

    def header(self, queue_id: QueueId, limit_bytes: int = 65536) -> bytes:
        """The header block with its empty line, at most `limit_bytes`."""
        block = self.content(queue_id, 0, limit_bytes)
        end = block.find(b"\r\n\r\n")
        return block if end < 0 else block[: end + 4]

    def content(self, queue_id: QueueId, offset: int, limit_bytes: int) -> bytes:
        """A piece of the message as it is stored; temporary `queue.unreadable`."""
        first, skipped = divmod(offset, PIECE_BYTES)
        last = (offset + limit_bytes) // PIECE_BYTES
        message, body = self._key(f"m:{queue_id}"), self._key(f"b:{queue_id}")
        fields, pieces, is_there = self._commands(
            [("HMGET", message, "file", "size"), ("LRANGE", body, first, last), ("EXISTS", body)]
        )
        if fields[0] is None:
            raise no_such_id()
        if fields[0]:
            return self._bodies.read_shared(fields[0].decode(), offset, limit_bytes)
        if not is_there and int(fields[1]):
            raise QueueError("queue.unreadable", "the message's content is lost", temporary=True)
        return bytes(b"".join(pieces)[skipped : skipped + limit_bytes])

    def window(
        self, where: QueueFilter, sort: str, reverse: bool, offset: int, limit: int
    ) -> tuple[int, Sequence[QueuedRecipient], Sequence[QueuedMessage]]:
        """(total, rows, their messages without recipients); sort: next, age, size, sender, recipient, attempts."""
        if sort not in SORTS:
            raise QueueError("queue.no_such_sort", f"the queue cannot be sorted by that; one of {', '.join(SORTS)}")
        search = search_of(where, self._clock.now())
        names: list[str] | None = None
        if where.ids:
            names = self._named(where, search)
            total = len(names)
        elif search.is_everything:
            total = self._count(Condition("all"))
        elif search.only_set is not None:
            total = self._count(search.only_set)
        else:
            total, names = self._counted(search, _SORTED_AT_ONCE)
        if where.ids or total <= _SORTED_AT_ONCE:
            if names is None:
                names = list(self._scan(search, _EVERYTHING))
            rows, messages = self._rows(names)
            rows = _sorted(rows, messages, sort, reverse)[offset : offset + limit]
        else:
            rows, messages = self._rows(self._walk(search, SORTS[sort], reverse, offset, limit))
        needed = dict.fromkeys(row.queue_id for row in rows)
        return total, rows, [messages[queue_id] for queue_id in needed]

    def matching(self, where: QueueFilter, limit: int) -> Sequence[tuple[QueueId, str, RecipientState]]:
        """(id, address, state) of the recipients meant, in order of id and address; at most `limit`."""
        rows, _ = self._rows(self._meant(where, limit))
        return [(row.queue_id, row.address, row.state) for row in rows]

    def stats(self, now: datetime) -> QueueStats:
        """Counts, the oldest and the ten destinations with most recipients."""
        late = f"({now.timestamp() - _LATE_SECONDS}"
        counted = ("all", "due", "state:active", "state:held", "state:quarantined", "messages")
        *counts, is_late, oldest, top = self._commands(
            [
                *(("ZCARD", self._key(key)) for key in counted),
                ("ZCOUNT", self._key("due"), "-inf", late),
                ("ZRANGE", self._key("messages"), 0, 0, "WITHSCORES"),
                ("ZREVRANGE", self._key("dests"), 0, 29, "WITHSCORES"),
            ]
        )
        total, deferred, active, held, quarantined, messages = counts
        destinations = [(one.decode(), int(count)) for one, count in zip(top[::2], top[1::2], strict=True)]
        return QueueStats(
            recipients=total,
            messages=messages,
            deferred=deferred,
            active=active,
            held=held,
            late=is_late,
            oldest_at=read_time(float(oldest[1])) if oldest else None,
            by_destination=tuple(sorted(destinations, key=lambda one: (-one[1], one[0]))[:10]),
            quarantined=quarantined,
        )

    def retry(self, where: QueueFilter, now: datetime) -> int:
        """Make matching deferred recipients due now."""
        return self._change("retry", where, now)

    def hold(self, where: QueueFilter, reason: str = "") -> int:
        """Matching recipients wait for an operator; one that is being delivered does so if this attempt defers it."""
        return self._change("hold", where, self._clock.now(), reason)

    def reroute(self, where: QueueFilter, route: str, now: datetime) -> int:
        """Matching recipients go by this route from their next try on; those that wait for their time, now."""
        return self._change("reroute", where, now, route)

    def unhold(self, where: QueueFilter, now: datetime) -> int:
        """As `SqliteOperators.unhold`."""
        return self._change("unhold", where, now)

    # rules, pauses and history

    def rules(self) -> Sequence[HoldRule]:
        """What is held from the start, oldest rule first."""
        return read_rules(self._command("HVALS", self._key("rules")))

    def add_rule(self, rule: HoldRule) -> HoldRule:
        """Holds for mail that comes from now on; `queue.too_many_rules`."""
        made_at = rule.made_at or self._clock.now()
        number = int(self._run(ADD_RULE, MAX_RULES, write_rule(rule, made_at.timestamp())))
        if not number:
            raise QueueError("queue.too_many_rules", f"there are {MAX_RULES} hold rules, remove some first")
        return HoldRule(
            number, rule.sender.lower(), rule.recipient.lower(), rule.submitter.lower(), rule.reason, made_at
        )

    def remove_rule(self, number: int) -> HoldRule:
        """What it held stays held; `queue.no_such_rule`."""
        record = self._run(REMOVE_RULE, number)
        if not record:
            raise QueueError("queue.no_such_rule", "there is no hold rule with this number")
        return read_rules([record])[0]

    def pauses(self) -> Sequence[Pause]:
        """What is not delivered to at present, the whole queue first."""
        records = self._command("HGETALL", self._key("pauses"))
        return sorted((read_pause(*one) for one in records.items()), key=lambda pause: pause.destination)

    def pause(self, pause: Pause) -> None:
        """`claim` passes this destination over from now on; `queue.too_many_pauses`."""
        record = encode((pause.reason, pause.made_at.timestamp()))
        if not self._run(PAUSE, pause.destination.lower(), record, MAX_PAUSES):
            raise QueueError("queue.too_many_pauses", f"{MAX_PAUSES} domains are paused, resume some first")
        self._bus.publish(QUEUE_TOPIC)

    def resume(self, destination: str, now: datetime) -> Pause:
        """Deliver again; what waited lives a day more when its time is over. `queue.not_paused`."""
        destination = destination.lower()
        found = [each for each in self.pauses() if each.destination == destination]
        if not found:
            raise QueueError("queue.not_paused", "delivery is not paused there")
        extended = (now + _RELEASED_LIFETIME).timestamp()
        conditions = (Condition(f"dest:{destination}"),) if destination else ()
        old = Search(conditions, extended - LIFETIME.total_seconds(), "")
        ids = dict.fromkeys(each.partition("/")[0] for each in self._scan(old, _EVERYTHING))
        for some in _pieces(list(ids)):
            self._run(EXTEND, extended, *some)
        self._command("HDEL", self._key("pauses"), destination)
        self._bus.publish(QUEUE_TOPIC)
        return found[0]

    def history(self, where: QueueFilter, offset: int, limit: int) -> Sequence[Finished]:
        """Recipients that have left, latest first."""
        matches = history_matches(where, self._clock.now())
        found: list[Finished] = []
        for some in self._left(where):
            found += [one for one in some if matches(one)]
            if len(found) >= offset + limit:
                break
        return found[offset : offset + limit]

    def forget(self, before: datetime, limit: int) -> int:
        """Remove what left before that time from the history, with its attempts; how many recipients."""
        count = 0
        while limit > 0:
            gone = int(self._run(FORGET, before.timestamp(), min(limit, _NAMES_AT_ONCE)))
            count, limit = count + gone, limit - _NAMES_AT_ONCE
            if gone < _NAMES_AT_ONCE:
                break
        return count

    def _left(self, where: QueueFilter) -> Iterator[list[Finished]]:
        if where.ids:
            found: list[Finished] = []
            ids = list(dict.fromkeys(where.ids))
            for queue_id, records in zip(
                ids, self._commands([("HGETALL", self._key(f"h:{each}")) for each in ids]), strict=True
            ):
                found += [read_finished(queue_id, address.decode(), record) for address, record in records.items()]
            yield sorted(found, key=lambda one: one.finished_at, reverse=True)
            return
        start = 0
        while True:
            names = self._command("ZREVRANGE", self._key("finished"), start, start + _HISTORY_AT_ONCE - 1)
            keys = [each.decode().split("/", 1) for each in names]
            records = self._commands([("HGET", self._key(f"h:{queue_id}"), address) for queue_id, address in keys])
            yield [
                read_finished(queue_id, address, record)
                for (queue_id, address), record in zip(keys, records, strict=True)
                if record is not None
            ]
            if len(names) < _HISTORY_AT_ONCE:
                return
            start += _HISTORY_AT_ONCE

    # finding

    def _meant(self, where: QueueFilter, limit: int) -> list[str]:
        """The names of the recipients a filter means, in order; at most `limit`."""
        search = search_of(where, self._clock.now())
        if where.ids:
            return sorted(self._named(where, search))[:limit]
        return list(self._scan(search, limit))

    def _named(self, where: QueueFilter, search: Search) -> list[str]:
        """The recipients of the given ids that meet the rest of the filter."""
        return self._of_messages(list(dict.fromkeys(where.ids)), search)

    def _old(self, search: Search) -> list[str] | None:
        """What meets a filter that only a few messages are old enough for; None when it must be looked for."""
        if search.oldest_at is None:
            return None
        limits = ("-inf", search.oldest_at, "LIMIT", 0, _OLD_AT_ONCE + 1)
        ids = [each.decode() for each in self._command("ZRANGEBYSCORE", self._key("messages"), *limits)]
        return sorted(self._of_messages(ids, search)) if len(ids) <= _OLD_AT_ONCE else None

    def _of_messages(self, ids: Sequence[str], search: Search) -> list[str]:
        names: list[str] = []
        for some in _pieces(ids):
            answers = self._commands([("HKEYS", self._key(f"r:{queue_id}")) for queue_id in some])
            for queue_id, addresses in zip(some, answers, strict=True):
                names += [name(queue_id, address.decode()) for address in addresses]
        kept: list[str] = []
        for some in _pieces(names):
            kept += [each.decode() for each in self._run(SIFT, search.encoded(), *some)]
        return kept

    def _scan(self, search: Search, limit: int) -> Iterator[str]:
        """The names of the recipients that meet the filter, in order of id and address."""
        if (old := self._old(search)) is not None:
            yield from old[:limit]
            return
        source, cursor, spec = self._source(search), "", search.encoded()
        while limit > 0:
            answer = self._run(SCAN, spec, source.key, source.before, cursor, _BUDGET, min(limit, _BUDGET), 0)
            cursor, names = answer[0], answer[2:]
            yield from (each.decode() for each in names)
            limit -= len(names)
            if not cursor:
                return

    def _counted(self, search: Search, limit: int) -> tuple[int, list[str]]:
        """How many recipients meet the filter, and the names of the first `limit`."""
        if (old := self._old(search)) is not None:
            return len(old), old[:limit]
        source, cursor, spec = self._source(search), "", search.encoded()
        total = 0
        names: list[str] = []
        while True:
            room = limit - len(names)
            cursor, count, *some = self._run(SCAN, spec, source.key, source.before, cursor, _BUDGET, room, 1)
            total += int(count)
            names += [each.decode() for each in some]
            if not cursor:
                return total, names

    def _source(self, search: Search) -> Condition:
        """Where to look: the smallest of the sets that all meant recipients are in."""
        ordered = [condition for condition in search.conditions if condition.ordered]
        counts = [(self._count(condition), index) for index, condition in enumerate(ordered)]
        return ordered[min(counts)[1]] if counts else Condition("all")

    def _count(self, condition: Condition) -> int:
        key, before = self._key(condition.key), condition.before
        if not before:
            return int(self._command("ZCARD", key))
        first, last = before.encode(), before.encode() + b"\xff"
        return int(self._command("ZLEXCOUNT", key, b"[" + first, b"(" + last))

    def _walk(self, search: Search, index: str, reverse: bool, offset: int, limit: int) -> list[str]:
        """A page of the names that meet the filter, in an index's order."""
        if search.is_everything:
            start, offset = offset, 0
        else:
            start = 0
        found: list[str] = []
        while len(found) < offset + limit:
            wanted = min(offset + limit - len(found), _BUDGET + 1)
            answer = self._run(WALK, search.encoded(), index, start, int(reverse), _BUDGET, wanted)
            found += [each.decode() for each in answer[1:]]
            if not answer[0]:
                break
            start = int(answer[0])
        return found[offset : offset + limit]

    def _rows(self, names: Sequence[str]) -> tuple[list[QueuedRecipient], dict[str, QueuedMessage]]:
        rows: list[QueuedRecipient] = []
        messages: dict[str, QueuedMessage] = {}
        for some in _pieces(names):
            more, belonging = page(self._run(ROWS, *some))
            rows += more
            messages |= belonging
        return rows, messages

    def _change(self, kind: str, where: QueueFilter, now: datetime, value: str = "") -> int:
        extended = (now + _RELEASED_LIFETIME).timestamp()
        count = 0
        for some in _pieces(self._meant(where, _EVERYTHING)):
            count += int(self._run(CHANGE, kind, now.timestamp(), value, extended, *some))
        if count:
            self._bus.publish(QUEUE_TOPIC)
        return count


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _NAMES_AT_ONCE):
        yield names[start : start + _NAMES_AT_ONCE]


def _sorted(
    rows: list[QueuedRecipient], messages: dict[str, QueuedMessage], sort: str, reverse: bool
) -> list[QueuedRecipient]:
    keys = {
        "next": lambda row: row.next_at,
        "age": lambda row: row.queue_id,
        "size": lambda row: messages[row.queue_id].size_bytes,
        "sender": lambda row: messages[row.queue_id].envelope.sender.lower(),
        "recipient": lambda row: row.address.lower(),
        "attempts": lambda row: row.attempts,
    }
    return sorted(rows, key=keys[sort], reverse=reverse)
