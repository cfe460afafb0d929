"""The queue's answers as typed rows: what waits, what has left, what is held from the start, where nothing goes for now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tui.format import clean, clean_lines
from tui.models import float_of, int_of, rows_of, text_of, when_of


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One waiting recipient."""

    id: str
    state: str
    next_at: datetime | None
    arrived_at: datetime | None
    attempts: int
    size_bytes: int
    sender: str
    recipient: str
    code: int
    last: str
    host: str
    reason: str = ""
    """Why it is held, unreadable or was passed over."""
    route: str = ""
    why: str = ""
    """The daemon's sentence: why it waits, what answered last, when it goes next."""
    gone: bool = False
    """It left the queue while it stood on the screen."""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the row while it moves."""
        return (self.id, self.recipient)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> QueueRow:
        """From `queue.list` or `queue.show`."""
        return cls(
            id=text_of(row, "id"),
            state=text_of(row, "state"),
            next_at=when_of(row, "next_at"),
            arrived_at=when_of(row, "arrived_at"),
            attempts=int_of(row, "attempts"),
            size_bytes=int_of(row, "size_bytes"),
            sender=text_of(row, "from"),
            recipient=text_of(row, "to"),
            code=int_of(row, "code"),
            last=text_of(row, "last"),
            host=text_of(row, "host"),
            reason=text_of(row, "reason"),
            route=text_of(row, "route"),
            why=text_of(row, "why"),
        )


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A part of the queue with what is true of the whole."""

    total: int = 0
    summary: str = ""
    rows: Sequence[QueueRow] = ()
    by_destination: Sequence[tuple[str, int]] = ()

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> QueuePage:
        """From `queue.list` or the topic `queue.window`."""
        destinations = row.get("by_destination")
        return cls(
            total=int_of(row, "total"),
            summary=text_of(row, "summary"),
            rows=[QueueRow.read(item) for item in rows_of(row, "rows")],
            by_destination=[
                (clean(str(item[0])), int(item[1]))
                for item in (destinations if isinstance(destinations, list) else ())
                if isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[1], int)
            ],
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One delivery attempt for one recipient."""

    at: datetime | None
    recipient: str
    fate: str
    code: int
    text: str
    host: str
    tls: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """One recipient that has left the queue."""

    id: str
    sender: str
    recipient: str
    finished_at: datetime | None
    fate: str
    code: int
    text: str
    host: str
    tls: str
    attempts: int
    size_bytes: int

    @property
    def key(self) -> tuple[str, str, datetime | None]:
        """What identifies the row."""
        return (self.id, self.recipient, self.finished_at)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Finished:
        """From `queue.history` or `queue.show`."""
        return cls(
            id=text_of(row, "id"),
            sender=text_of(row, "from"),
            recipient=text_of(row, "to"),
            finished_at=when_of(row, "finished_at"),
            fate=text_of(row, "fate"),
            code=int_of(row, "code"),
            text=text_of(row, "text"),
            host=text_of(row, "host"),
            tls=text_of(row, "tls"),
            attempts=int_of(row, "attempts"),
            size_bytes=int_of(row, "size_bytes"),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One queued message with its recipients and history."""

    id: str = ""
    sender: str = ""
    size_bytes: int = 0
    arrived_at: datetime | None = None
    expires_at: datetime | None = None
    submitter: str = ""
    message_id: str = ""
    header: Sequence[str] = ()
    recipients: Sequence[QueueRow] = ()
    attempts: Sequence[Attempt] = ()
    why: str = ""
    finished: Sequence[Finished] = ()
    """Its recipients that have left the queue, the latest first."""
    advice: Sequence[str] = ()

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Message:
        """From `queue.show`."""
        return cls(
            id=text_of(row, "id"),
            sender=text_of(row, "from"),
            size_bytes=int_of(row, "size_bytes"),
            arrived_at=when_of(row, "arrived_at"),
            expires_at=when_of(row, "expires_at"),
            submitter=text_of(row, "submitter"),
            message_id=text_of(row, "message_id"),
            header=clean_lines(str(row.get("header") or "").rstrip()),
            recipients=[QueueRow.read(item) for item in rows_of(row, "recipients")],
            attempts=[
                Attempt(
                    when_of(item, "at"),
                    text_of(item, "to"),
                    text_of(item, "fate"),
                    int_of(item, "code"),
                    text_of(item, "text"),
                    text_of(item, "host"),
                    text_of(item, "tls"),
                    float_of(item, "seconds"),
                )
                for item in rows_of(row, "attempts")
            ],
            why=text_of(row, "why"),
            finished=[Finished.read(item) for item in rows_of(row, "finished")],
            advice=[f"{text_of(item, 'sentence')} {text_of(item, 'link')}".strip() for item in rows_of(row, "advice")],
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action would do, with the hash that makes it binding."""

    plan: str
    count: int
    messages: int
    sample: Sequence[tuple[str, str]] = field(default_factory=tuple)
    busy: int = 0
    """Matching recipients that are being delivered right now and are left alone."""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Plan:
        """From `queue.plan`."""
        return cls(
            # The hash goes back as it came; it is never drawn.
            plan=str(row.get("plan") or ""),
            count=int_of(row, "count"),
            messages=int_of(row, "messages"),
            sample=[(text_of(item, "id"), text_of(item, "to")) for item in rows_of(row, "sample")],
            busy=int_of(row, "busy"),
        )


@dataclass(frozen=True, slots=True)
class HoldRule:
    """One rule that holds new mail."""

    number: int
    sender: str
    recipient: str
    submitter: str
    reason: str
    made_at: datetime | None

    @property
    def key(self) -> int:
        """What identifies the row."""
        return self.number

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> HoldRule:
        """From `queue.rules`."""
        return cls(
            int_of(row, "number"), text_of(row, "from"), text_of(row, "to"), text_of(row, "submitter"),
            text_of(row, "reason"), when_of(row, "made_at"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where mail does not go for now: a pause of an operator, or a host that is passed over because it fails."""

    kind: str
    """`pause` or `host`."""
    name: str
    """The domain ("" is the whole queue), or the host with its port."""
    state: str
    since: datetime | None
    next_at: datetime | None
    why: str

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the row."""
        return (self.kind, self.name)

    @classmethod
    def of_pause(cls, row: Mapping[str, Any]) -> Place:
        """From `queue.pauses`."""
        return cls("pause", text_of(row, "domain"), "paused", when_of(row, "made_at"), None, text_of(row, "reason"))

    @classmethod
    def of_host(cls, row: Mapping[str, Any]) -> Place:
        """From `breaker.list`."""
        since, probe = when_of(row, "since"), when_of(row, "next_probe")
        return cls("host", text_of(row, "host"), text_of(row, "state"), since, probe, text_of(row, "why"))
