"""The daemon's answers as typed rows. Every text is cleaned here, every number has a safe default.

A thin client must not fall over an odd or newer row: unknown keys are ignored, missing ones become empty or zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tui.format import clean, clean_lines


def text_of(row: Mapping[str, Any], key: str) -> str:
    """A cleaned text; "" when absent."""
    value = row.get(key)
    return "" if value is None else clean(value if isinstance(value, str) else str(value))


def int_of(row: Mapping[str, Any], key: str) -> int:
    """A whole number; 0 when absent."""
    value = row.get(key)
    return int(value) if isinstance(value, int | float) else 0


def float_of(row: Mapping[str, Any], key: str) -> float:
    """A number; 0 when absent."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def when_of(row: Mapping[str, Any], key: str) -> datetime | None:
    """An aware time; None when absent or not a time."""
    value = row.get(key)
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def rows_of(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """A list of objects; [] when absent."""
    value = row.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def block_of(value: object) -> list[str]:
    """Any value as readable lines: objects as `key = value`, lists item by item, texts as they are."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return block_of(parsed) if (parsed := json_object(value)) else clean_lines(value)
    if isinstance(value, Mapping):
        return [f"{clean(str(key))} = {' '.join(block_of(item)) or '-'}" for key, item in value.items()]
    if isinstance(value, list):
        return [" ".join(block_of(item)) for item in value]
    return [clean(str(value))]


def json_object(text: str) -> dict[str, Any] | None:
    """The object a text holds, when it is one: the audit keeps values as JSON."""
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True)
class Todo:
    """One thing that needs the operator."""

    state: str
    text: str
    screen: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Service:
    """One listener and its connections."""

    state: str
    service: str
    port: int
    connections: int


@dataclass(frozen=True, slots=True)
class Health:
    """The answer line, the title row, and everything on Home that is not traffic."""

    state: str = ""
    answer: str = ""
    queue: int = 0
    late: int = 0
    certificate_days: int | None = None
    consoles: int = 1
    todo: Sequence[Todo] = ()
    services: Sequence[Service] = ()
    used_bytes: int = 0
    total_bytes: int = 0
    mail_bytes: int = 0
    memory_bytes: int = 0
    load: float = 0.0
    uptime_seconds: float = 0.0
    waiting: int = 0
    """Senders in the greylist."""
    bans: int = 0
    lists_off: int = 0

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Health:
        """From the topic `health`."""
        storage = row.get("storage") if isinstance(row.get("storage"), Mapping) else {}
        assert isinstance(storage, Mapping)
        spam = row.get("spam") if isinstance(row.get("spam"), Mapping) else {}
        assert isinstance(spam, Mapping)
        days = row.get("certificate_days")
        return cls(
            state=text_of(row, "state"),
            answer=text_of(row, "answer"),
            queue=int_of(row, "queue"),
            late=int_of(row, "late"),
            certificate_days=int(days) if isinstance(days, int | float) else None,
            consoles=int_of(row, "consoles"),
            todo=[
                Todo(
                    text_of(item, "state"),
                    text_of(item, "text"),
                    text_of(item, "screen").lower(),
                    when_of(item, "since"),
                )
                for item in rows_of(row, "todo")
            ],
            services=[
                Service(
                    text_of(item, "state"), text_of(item, "service"), int_of(item, "port"), int_of(item, "connections")
                )
                for item in rows_of(row, "services")
            ],
            used_bytes=int_of(storage, "used_bytes"),
            total_bytes=int_of(storage, "total_bytes"),
            mail_bytes=int_of(storage, "mail_bytes"),
            memory_bytes=int_of(row, "memory_bytes"),
            load=float_of(row, "load"),
            uptime_seconds=float_of(row, "uptime_seconds"),
            waiting=int_of(spam, "waiting"),
            bans=int_of(spam, "bans"),
            lists_off=int_of(spam, "lists_off"),
        )


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """One counted direction: now, today, and the last hour minute by minute."""

    name: str
    now_per_hour: int
    day: int
    history: Sequence[int]


@dataclass(frozen=True, slots=True)
class LastMail:
    """One of the most recent messages."""

    at: datetime | None
    direction: str
    sender: str
    recipient: str
    result: str
    seconds: float | None
    text: str
    id: str

    @property
    def key(self) -> tuple[datetime | None, str, str, str]:
        """What tells it from others while the list moves."""
        return (self.at, self.id, self.result, self.recipient)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The topic `traffic`."""

    rows: Sequence[TrafficRow] = ()
    last: Sequence[LastMail] = ()

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Traffic:
        """From the topic `traffic`."""
        return cls(
            rows=[
                TrafficRow(
                    text_of(item, "name"),
                    int_of(item, "now_per_hour"),
                    int_of(item, "day"),
                    [int(value) for value in item.get("history") or () if isinstance(value, int | float)],
                )
                for item in rows_of(row, "rows")
            ],
            last=[
                LastMail(
                    when_of(item, "at"),
                    text_of(item, "direction"),
                    text_of(item, "sender"),
                    text_of(item, "recipient"),
                    text_of(item, "result"),
                    float_of(item, "seconds") if item.get("seconds") is not None else None,
                    text_of(item, "text"),
                    text_of(item, "id"),
                )
                for item in rows_of(row, "last")
            ],
        )


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit chain."""

    no: int
    at: datetime | None
    who: str
    uid: int | None
    via: str
    what: str
    subject: str
    detail: Sequence[str]
    before: Sequence[str]
    after: Sequence[str]
    result: str

    @property
    def key(self) -> int:
        """What identifies the row."""
        return self.no

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> AuditEntry:
        """From `audit.list` or `audit.show`."""
        return cls(
            no=int_of(row, "no"),
            at=when_of(row, "at"),
            who=text_of(row, "who"),
            uid=int_of(row, "uid") if row.get("uid") is not None else None,
            via=text_of(row, "via"),
            what=text_of(row, "what"),
            subject=text_of(row, "object"),
            detail=block_of(row.get("detail")),
            before=block_of(row.get("before")),
            after=block_of(row.get("after")),
            result=text_of(row, "result"),
        )
