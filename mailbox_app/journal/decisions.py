"""The decision journal: the mail log's events and the explanations as rows, written behind the traffic.

`record` and `explain` only append to a bounded buffer (a microsecond, any thread); a thread writes it every half second or
500 events. A buffer that runs over drops its oldest events and counts them: mail is never slowed down by its own history. A
crash loses the last half second.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from mailbox_app.clock import Clock, SystemClock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.journal import explanations, tables
from mailbox_app.journal.explanations import Explanation, ExplanationFilter
from mailbox_app.observe.mail_log import MailEvent

_FLUSH_SECONDS = 0.5
_FLUSH_ROWS = 500
_TELL_SECONDS = 60.0
_MAX_BUFFERED = 10_000
_MAX_FOUND = 1000
_PRUNE_BATCH = 5000
"""Rows deleted per transaction, so that writers of other processes wait milliseconds at most."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One event with its number and time."""

    no: int
    at: datetime
    event: MailEvent


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """Recipients of events of one kind within one minute since 1970."""

    minute: int
    verb: str
    direction: str
    count: int


class Decisions:
    """Writer and reader of one process. The thread is started with the first event, so it survives no fork."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._database = Database(path, tables.MIGRATIONS, synchronous="NORMAL")
        self._buffer: deque[tuple[int, MailEvent | Explanation]] = deque()
        self._write_lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._dropped = 0
        self._tell_again_at = 0.0
        self._log = structlog.get_logger("journal")

    @property
    def dropped(self) -> int:
        """Events lost because they came faster than the disk took them."""
        return self._dropped

    def record(self, event: MailEvent) -> None:
        """A sink of the mail log: quick, from any thread, never raises."""
        self._keep(event)

    def explain(self, explanation: Explanation) -> None:
        """Why a message went where it went: as quick."""
        self._keep(explanation)

    def _keep(self, item: MailEvent | Explanation) -> None:
        while len(self._buffer) >= _MAX_BUFFERED:
            self._dropped += 1
            self._buffer.popleft()
        self._buffer.append((int(self._clock.epoch_seconds() * 1000), item))
        if self._thread is None:
            self._start()
        elif len(self._buffer) >= _FLUSH_ROWS:
            self._wake.set()

    def flush(self) -> None:
        """Write what is buffered; waits for a running write."""
        with self._write_lock:
            rows: list[tuple[int, MailEvent | Explanation]] = []
            with suppress(IndexError):  # a full buffer drops its oldest events at the same time
                rows.extend(self._buffer.popleft() for _ in range(len(self._buffer)))
            if not rows:
                return
            try:
                with self._database.transaction() as connection:
                    events = [_row(at, item) for at, item in rows if isinstance(item, MailEvent)]
                    connection.executemany(tables.DECISION_INSERT, events)
                    explanations.write(connection, [item for _, item in rows if isinstance(item, Explanation)])
            except StoreError:
                self._buffer.extendleft(reversed(rows))  # the next flush tries again; the buffer's bound still holds
                raise

    def close(self) -> None:
        """Write the rest and end the thread."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self._try_flush()
        self._database.close()

    def recent(self, limit: int) -> Sequence[Decision]:
        """Newest first, what was written."""
        return self._read(tables.DECISION_RECENT, (limit,))

    def recent_results(self, limit: int) -> Sequence[Decision]:
        """Newest first, without mere queueing: what an operator wants to see scroll by."""
        return self._read(tables.DECISION_RECENT_DONE, (limit,))

    def search(self, identifier: str) -> Sequence[Decision]:
        """All events of a queue id, a session id or a Message-ID, oldest first."""
        return self._read(tables.DECISION_SEARCH, {"id": identifier, "limit": _MAX_FOUND})

    def explanations(self, where: ExplanationFilter, limit: int) -> Sequence[tuple[int, Explanation]]:
        """(number, record), newest first, what was written."""
        return explanations.find(self._database, where, limit)

    def count_explanations(self, where: ExplanationFilter, most: int) -> int:
        """How many records there are, counted up to `most`."""
        return explanations.count(self._database, where, most)

    def last_explanation_no(self) -> int:
        """The number of the newest record."""
        return explanations.last_no(self._database)

    def last_no(self) -> int:
        """The number of the newest row."""
        with self._database.reading() as connection:
            return int(connection.execute(tables.DECISION_LAST_NO).fetchone()[0])

    def counts(self, after_no: int, to_no: int, since_at: datetime) -> Sequence[MinuteCount]:
        """Rows numbered after_no + 1 to to_no, counted by minute and kind."""
        with self._database.reading() as connection:
            rows = connection.execute(tables.DECISION_COUNTS, (after_no, to_no, int(since_at.timestamp() * 1000)))
            return [MinuteCount(*row) for row in rows]

    def prune(self, before_at: datetime) -> int:
        """Forget older rows of both kinds; how many."""
        removed = explanations.prune(self._database, before_at, _PRUNE_BATCH)
        while True:
            with self._database.transaction() as connection:
                limit = int(before_at.timestamp() * 1000)
                count = connection.execute(tables.DECISION_PRUNE, (limit, _PRUNE_BATCH)).rowcount
            removed += count
            if count < _PRUNE_BATCH:
                return removed

    def _read(self, query: str, values: Sequence[object] | dict[str, object]) -> Sequence[Decision]:
        with self._database.reading() as connection:
            return [_decision(row) for row in connection.execute(query, values)]

    def _start(self) -> None:
        with self._write_lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._try_flush()

    def _try_flush(self) -> None:
        """One line a minute while the disk does not take anything."""
        try:
            self.flush()
        except StoreError as error:
            now = self._clock.monotonic_seconds()
            if now >= self._tell_again_at:
                self._tell_again_at = now + _TELL_SECONDS
                self._log.warning("decisions_not_written", code=error.code, waiting=len(self._buffer))
        except Exception:  # noqa: BLE001 - these events are lost; those to come must not be, so the thread goes on
            self._log.exception("decisions_lost")
        else:
            self._tell_again_at = 0.0


def _row(at_millis: int, event: MailEvent) -> tuple[object, ...]:
    return (
        at_millis, event.verb, event.direction, event.session_id, event.queue_id, event.sender,
        "\n".join(event.recipients), event.message_id, event.size_bytes, event.remote, event.tls, event.code,
        event.text, event.reason, event.checks, event.duration_seconds,
    )  # fmt: skip


def _decision(row: tuple[object, ...]) -> Decision:
    no, at_millis = row[0], row[1]
    values = dict(zip(_EVENT_FIELDS, row[2:], strict=True))
    values["recipients"] = tuple(str(values["recipients"]).split("\n")) if values["recipients"] else ()
    if not isinstance(no, int) or not isinstance(at_millis, int):
        raise TypeError(row)
    return Decision(no, datetime.fromtimestamp(at_millis / 1000, UTC), MailEvent(**values))  # type: ignore[arg-type]


_EVENT_FIELDS = (
    "verb", "direction", "session_id", "queue_id", "sender", "recipients", "message_id", "size_bytes",
    "remote", "tls", "code", "text", "reason", "checks", "duration_seconds",
)  # fmt: skip
