"""What happened in the pretend week, as the product itself tells it: history and attempts, log lines, reports in mailboxes."""

from __future__ import annotations

import email.policy
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import structlog
from cast import Cast, Letter

from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Attempt, Finished, QueueFilter
from mailbox_app.runtime.parts import Parts

_ROWS = 100_000
_CONDITIONS = {"breaker_open": "open", "breaker_half_open": "half-open", "breaker_closed": "closed"}
_PARSER = BytesParser(policy=email.policy.default)


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker has changed."""

    at: float
    host: str
    condition: str
    reason: str


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt for one recipient, seconds since the week began."""

    at: float
    fate: str
    code: int
    text: str
    host: str
    tls: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What one report says about one recipient."""

    at: float
    to: str
    letter: str
    address: str
    action: str
    """failed, delayed or relayed."""
    status: str
    diagnostic: str
    has_body: bool
    """Whether the message itself came back, not only its header."""
    mail: int
    """Which report it stands in."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What waits at the end."""

    letter: str
    address: str
    state: str
    attempts: int
    next_at: float
    reason: str


@dataclass(slots=True)
class Observed:
    """The whole week."""

    cast: Cast
    ids: Mapping[str, QueueId]
    tries: Mapping[tuple[str, str], Sequence[Try]]
    """By letter and recipient."""
    finished: Mapping[QueueId, Sequence[Finished]]
    ended: Mapping[tuple[str, str], tuple[float, Finished]]
    """When a recipient left the queue, and how."""
    rest: Sequence[Rest]
    changes: Sequence[Change]
    reports: Sequence[Report]
    knocks: Mapping[str, Sequence[float]]
    """When somebody tried to connect, by domain."""
    sent: Sequence[tuple[float, str, str]]
    """(time, letter, recipient) of each delivery, in their order."""
    errors: Sequence[str]
    """Log lines that should not be."""
    away: Sequence[tuple[float, float]] = ()
    """When the server was stopped."""
    remembered: list[tuple[float, bool]] = field(default_factory=list)
    """So many days after it left: whether a message is still in the history."""

    def letter(self, name: str) -> Letter:
        """By its name."""
        return next(letter for letter in self.cast.letters if letter.name == name)

    def tries_of(self, name: str) -> Sequence[Try]:
        """Of a letter's first recipient."""
        return self.tries.get((name, self.letter(name).to[0]), ())

    def reports_of(self, name: str, action: str = "") -> list[Report]:
        """About a letter."""
        return [each for each in self.reports if each.letter == name and action in ("", each.action)]


class Watcher:
    """Reads the product's log while it is entered."""

    def __init__(self, seconds: Any) -> None:
        self._seconds = seconds
        self._before: dict[str, Any] | None = None
        self.changes: list[Change] = []
        self.sent: list[tuple[float, str, str]] = []
        self.errors: list[str] = []

    def __enter__(self) -> Watcher:
        self._before = structlog.get_config() if structlog.is_configured() else None
        structlog.configure(processors=[self._read])
        return self

    def __exit__(self, *_: object) -> None:
        structlog.reset_defaults()
        if self._before is not None:
            structlog.configure(**self._before)

    def _read(self, _: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name = event["event"]
        if name in _CONDITIONS:
            self.changes.append(Change(self._seconds(), event["host"], _CONDITIONS[name], str(event.get("reason", ""))))
        elif name == "delivered" and event.get("direction") == "out":
            self.sent.append((self._seconds(), event["queue_id"], event["recipients"][0]))
        elif level in ("error", "critical", "exception"):
            self.errors.append(" ".join(f"{key}={value}" for key, value in event.items()))
        raise structlog.DropEvent


def look_back(watcher: Watcher, parts: Parts, cast: Cast, ids: Mapping[str, QueueId], start: datetime) -> Observed:
    """Everything there is to know at this moment."""
    began = start.timestamp()
    names = {queue_id: name for name, queue_id in ids.items()}
    tries: dict[tuple[str, str], list[Try]] = {}
    for name, queue_id in ids.items():
        for each in parts.queue.attempts(queue_id):
            tries.setdefault((name, each.address), []).append(_try(each, began))
    finished: dict[QueueId, list[Finished]] = {}
    ended: dict[tuple[str, str], tuple[float, Finished]] = {}
    for row in _history(parts):
        finished.setdefault(row.queue_id, []).append(row)
        if row.queue_id in names:
            ended[names[row.queue_id], row.address] = (row.finished_at.timestamp() - began, row)
    _, rows, _ = parts.queue.window(QueueFilter(), "next", False, 0, _ROWS)
    rest = [
        Rest(names.get(row.queue_id, f"report {row.queue_id}"), row.address, row.state.value, row.attempts,
             row.next_at.timestamp() - began, row.hold_reason or f"{row.last_code} {row.last_text}")
        for row in rows
    ]  # fmt: skip
    network = parts.bus._loop.network  # type: ignore[union-attr]
    return Observed(
        cast,
        dict(ids),
        tries,
        finished,
        ended,
        rest,
        list(watcher.changes),
        _reports(parts.data_dir / "mail", cast, began),
        {
            domain: [parts.clock.epoch_seconds() - parts.clock.monotonic_seconds() + at - began for at in knocks]
            for address, knocks in network.knocks.items()
            for domain in [cast.addresses[address]]
        },
        [(at, names[queue_id], address) for at, queue_id, address in watcher.sent if queue_id in names],
        list(watcher.errors),
    )


def _try(each: Attempt, began: float) -> Try:
    at = each.at.timestamp() - began
    return Try(at, each.fate.value, each.code, each.text, each.host, each.tls, each.duration_seconds)


def _history(parts: Parts) -> Sequence[Finished]:
    found: list[Finished] = []
    while rows := parts.queue.history(QueueFilter(), len(found), 1_000):
        found += rows
    return found


def _reports(mail: Path, cast: Cast, began: float) -> list[Report]:
    """Those in our mailboxes, and those that went to other servers."""
    raw = [path.read_bytes() for path in sorted(mail.glob("*/*/Maildir/**/*")) if path.parent.name in ("new", "cur")]
    raw += [taken.content for peer in cast.peers.values() for taken in peer.taken if not taken.sender]
    found = [each for number, content in enumerate(raw) for each in _report(content, number, cast, began)]
    return sorted(found, key=lambda each: each.at)


def _report(content: bytes, number: int, cast: Cast, began: float) -> list[Report]:
    message = _PARSER.parsebytes(content)
    if message.get_content_type() != "multipart/report":
        return []
    parts = list(message.iter_parts())
    at = parsedate_to_datetime(str(message["Date"])).timestamp() - began
    about = re.search(rb"^Message-ID: <(\d+)@example\.org>", content, re.MULTILINE)
    name = cast.letters[int(about[1])].name if about else "?"
    rows = []
    for group in _groups(parts[1]):
        address = str(group["Final-Recipient"]).partition(";")[2].strip()
        rows.append(
            Report(
                at, str(message["To"]).strip("<>"), name, address, str(group["Action"]), str(group["Status"]),
                str(group["Diagnostic-Code"]), parts[2].get_content_type() == "message/rfc822", number,
            )
        )  # fmt: skip
    return rows


def _groups(part: EmailMessage) -> list[EmailMessage]:
    """Of a delivery status: one per recipient."""
    return [group for group in part.get_payload() if group["Final-Recipient"]]  # type: ignore[union-attr,misc]
