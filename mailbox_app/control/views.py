"""The numbers behind the console's first screen: traffic by the minute, and the health answer.

Traffic is counted from the decision journal, which holds the events of all processes: each look counts only rows that are
new since the last one, and a restarted daemon knows the last day at once. Counts lag by the journal's half second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from mailbox_app.control import machine
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.policy import Numbers, SpamNumbers
from mailbox_app.control.queue_counts import queue_counts
from mailbox_app.control.todo import things_to_do
from mailbox_app.journal.decisions import Decision, Decisions
from mailbox_app.proto.plain_text import clean

_MINUTES = 1440
_HISTORY = 60
_NOW_MINUTES = 5
_LAST = 12
_USAGE_SECONDS = (5.0, 300.0)
_USAGE_SHARE = 100.0
"""The mail of all accounts is counted again after a hundred times what the last count took, so it costs a hundredth of a core."""
_MEMORY_SECONDS = 5.0
"""The kernel walks all pages of all processes to answer: a millisecond or more each."""
_ROWS: Mapping[tuple[str, str], str] = {
    ("accepted", "in"): "in accepted",
    ("rejected", "in"): "in rejected",
    ("delivered", "out"): "out delivered",
    ("attempt", "out"): "out deferred",
    ("accepted", "submission"): "submitted",
}


class TrafficRow(Struct):
    """One kind of traffic. `now_per_hour` is the last five minutes' rate; `history` 60 minutes, oldest first."""

    name: str
    now_per_hour: int
    day: int
    history: list[int]


class LastMessage(Struct):
    """One event as the first screen shows it."""

    at: datetime
    direction: str
    sender: str
    recipient: str
    result: str
    seconds: float
    text: str
    id: str


class Traffic(Struct):
    """The topic `traffic`."""

    rows: list[TrafficRow]
    last: list[LastMessage]


class TrafficHistory:
    """Counts of the last day by minute. Synchronous; safe from any thread."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._lock = threading.Lock()
        self._after_no = 0
        self._minute = 0
        self._counts = {name: deque([0] * _MINUTES, _MINUTES) for name in _ROWS.values()}

    def look(self, now: datetime) -> Traffic:
        """Count what is new, and the whole state."""
        with self._lock:
            self._advance(int(now.timestamp()) // 60)
            to_no = self._decisions.last_no()
            if to_no > self._after_no:
                self._count(to_no, now)
            rows = [self._row(name) for name in _ROWS.values()]
        return Traffic(rows, [_last(decision) for decision in self._decisions.recent_results(_LAST)])

    def _advance(self, minute: int) -> None:
        steps = _MINUTES if not self._minute else max(0, min(minute - self._minute, _MINUTES))
        for counts in self._counts.values():
            counts.extend([0] * steps)
        self._minute = max(self._minute, minute)

    def _count(self, to_no: int, now: datetime) -> None:
        for each in self._decisions.counts(self._after_no, to_no, now - timedelta(minutes=_MINUTES)):
            name = _ROWS.get((each.verb, each.direction))
            age = self._minute - each.minute
            if name is not None and 0 <= age < _MINUTES:
                self._counts[name][_MINUTES - 1 - age] += each.count
        self._after_no = to_no

    def _row(self, name: str) -> TrafficRow:
        counts = list(self._counts[name])
        recent = sum(counts[-_NOW_MINUTES:])
        return TrafficRow(name, recent * 60 // _NOW_MINUTES, sum(counts), counts[-_HISTORY:])


def _last(decision: Decision) -> LastMessage:
    event = decision.event
    recipients = event.recipients
    recipient = recipients[0] if recipients else ""
    if len(recipients) > 1:
        recipient += f" +{len(recipients) - 1}"
    result = {"accepted": "ok", "delivered": "ok", "attempt": "deferred"}.get(event.verb, event.verb)
    return LastMessage(
        decision.at.replace(microsecond=0), event.direction, clean(event.sender), clean(recipient), result,
        round(event.duration_seconds, 3), clean(event.text), event.queue_id or event.session_id,
    )  # fmt: skip


class Todo(Struct):
    """One thing that needs the operator."""

    state: str
    text: str
    screen: str
    since: datetime | None


class Service(Struct):
    """One listening service."""

    state: str
    service: str
    address: str
    port: int
    connections: int


class Storage(Struct):
    """The data directory's file system, and the mail in it."""

    used_bytes: int
    total_bytes: int
    mail_bytes: int


class Health(Struct):
    """The topic `health`."""

    state: str
    answer: str
    queue: int
    late: int
    certificate_days: int | None
    consoles: int
    todo: list[Todo]
    services: list[Service]
    storage: Storage
    memory_bytes: int
    load: float
    uptime_seconds: int
    spam: Numbers


class HealthView:
    """Looks at everything once. Synchronous: call `look` in a thread."""

    def __init__(self, context: ControlContext, spam: SpamNumbers | None = None) -> None:
        self._context = context
        self._spam = spam or SpamNumbers(context)
        self._mail_bytes = 0
        self._mail_due_at = float("-inf")
        self._memory_bytes = 0
        self._memory_known_at = float("-inf")
        self._since: dict[str, datetime] = {}

    def look(self, consoles: int) -> Health:
        """The whole state."""
        context = self._context
        now = context.clock.now()
        queue = queue_counts(context, now)
        disk = machine.disk(context.data_dir)
        days = context.certificate_days()
        found = things_to_do(context, queue, now, disk, days)
        self._since = {text: self._since.get(text, now.replace(microsecond=0)) for _, text, _ in found}
        todo = [Todo(state, text, screen, self._since[text]) for state, text, screen in found]
        state = (
            "BAD!"
            if any(each.state == "BAD!" for each in todo)
            else "WARN"
            if any(each.state == "WARN" for each in todo)
            else "ok"
        )
        return Health(
            state=state,
            answer=_answer(state, todo),
            queue=queue.recipients,
            late=queue.late,
            certificate_days=days,
            consoles=consoles,
            todo=todo,
            services=self._services(),
            storage=Storage(disk.used_bytes, disk.total_bytes, self._mail()),
            memory_bytes=self._memory(),
            load=round(machine.load(), 2),
            uptime_seconds=int((now - context.started_at).total_seconds()),
            spam=self._spam.look(),
        )

    def _services(self) -> list[Service]:
        connections = self._context.connections()
        return [
            Service("ok", each.service, each.address, each.port, _open(connections, each.service))
            for each in self._context.listeners()
        ]

    def _memory(self) -> int:
        clock = self._context.clock
        if clock.monotonic_seconds() - self._memory_known_at >= _MEMORY_SECONDS:
            self._memory_known_at = clock.monotonic_seconds()
            self._memory_bytes = machine.memory_bytes([process.pid for process in self._context.processes()])
        return self._memory_bytes

    def _mail(self) -> int:
        """Opening every account costs milliseconds each: on a large server the sum is as old as five minutes."""
        clock = self._context.clock
        began = clock.monotonic_seconds()
        if began >= self._mail_due_at:
            accounts = self._context.directory.accounts()
            self._mail_bytes = sum(self._context.store.account(account.ref).usage()[0] for account in accounts)
            ended = clock.monotonic_seconds()
            least, most = _USAGE_SECONDS
            self._mail_due_at = ended + min(most, max(least, (ended - began) * _USAGE_SHARE))
        return self._mail_bytes


def _open(connections: Mapping[str, int], service: str) -> int:
    """Some sessions count by protocol, so that imap and imaps are one number."""
    return int(connections.get(service, connections.get(service.removesuffix("s"), 0)))


def _answer(state: str, everything: Sequence[Todo]) -> str:
    todo = [each for each in everything if each.state != "info"]
    flows = "Mail is in danger." if state == "BAD!" else "Mail flows."
    if not todo:
        return f"{flows} Nothing needs you."
    count = "1 thing needs you" if len(todo) == 1 else f"{len(todo)} things need you"
    end = "" if ": mailbox " in todo[0].text else "."  # a command is copied without one
    return f"{flows} {count}: {todo[0].text}{end}"
