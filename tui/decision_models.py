"""The daemon's answers about what was decided at the door as typed rows, cleaned like all others (`tui.models`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tui.format import clean
from tui.models import float_of, int_of, rows_of, text_of, when_of

WORDS = {
    "accepted": ("ok", "ok"),
    "junk": ("JUNK", "mark"),
    "deferred": ("DEFR", "warn"),
    "refused": ("DENY", "bad"),
}
"""Outcome: its four letters and their role."""


def outcome_word(outcome: str) -> tuple[str, str]:
    """Four letters and a role; an outcome of a newer daemon is shown as it is."""
    return WORDS.get(outcome, (outcome[:4].upper(), "dim"))


def texts_of(row: Mapping[str, Any], key: str) -> list[str]:
    """A list of cleaned texts; [] when absent."""
    value = row.get(key)
    return [clean(str(each)) for each in value] if isinstance(value, list) else []


def some(addresses: Sequence[str]) -> str:
    """The first address, and how many more there are."""
    if not addresses:
        return "-"
    return addresses[0] + (f" +{len(addresses) - 1}" if len(addresses) > 1 else "")


@dataclass(frozen=True, slots=True)
class LogRow:
    """One decision in short."""

    no: int
    at: datetime | None
    outcome: str
    id: str
    """What `trace.show` finds it by."""
    remote: str
    sender: str
    recipients: Sequence[str]
    message_id: str
    subject: str
    score: float
    code: int
    text: str
    reason: str

    @property
    def key(self) -> int:
        """What identifies the row."""
        return self.no

    @property
    def why(self) -> str:
        """The reason; without one the reply of a refusal, else what the mail is about."""
        return self.reason or (self.subject if self.outcome in {"accepted", "junk"} else f"{self.code} {self.text}")

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> LogRow:
        """From `trace.search`."""
        return cls(
            no=int_of(row, "no"),
            at=when_of(row, "at"),
            outcome=text_of(row, "outcome"),
            # An id goes back as it came; it is cleaned where it is drawn.
            id=str(row.get("trace_id") or row.get("session_id") or ""),
            remote=text_of(row, "remote"),
            sender=text_of(row, "sender"),
            recipients=texts_of(row, "recipients"),
            message_id=text_of(row, "message_id"),
            subject=text_of(row, "subject"),
            score=float_of(row, "score"),
            code=int_of(row, "code"),
            text=text_of(row, "text"),
            reason=text_of(row, "reason"),
        )


@dataclass(frozen=True, slots=True)
class Said:
    """What one check said."""

    check: str
    reason: str
    score: float
    verdict: str
    account: str
    advisory: bool

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Said:
        """From a decision's `findings`; absent values are the harmless ones."""
        return cls(
            text_of(row, "check"),
            text_of(row, "reason"),
            float_of(row, "score"),
            text_of(row, "verdict") or "accept",
            text_of(row, "account"),
            bool(row.get("advisory")),
        )


@dataclass(frozen=True, slots=True)
class MailCopy:
    """What became of one recipient's copy."""

    address: str
    action: str
    target: str
    reason: str
    steps: Sequence[str]

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> MailCopy:
        """From a decision's `copies`."""
        address, action, target = (text_of(row, name) for name in ("address", "action", "target"))
        return cls(address, action, target, text_of(row, "reason"), texts_of(row, "steps"))


@dataclass(frozen=True, slots=True)
class Why:
    """One decision whole."""

    row: LogRow
    stage: str
    trace_id: str
    session_id: str
    service: str
    remote_name: str
    account: str
    helo: str
    tls: str
    size_bytes: int
    authentication: str
    junk_score: float
    reject_score: float
    findings: Sequence[Said]
    copies: Sequence[MailCopy]
    queue_ids: Sequence[str]
    seconds: float

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Why:
        """From `trace.show`."""
        return cls(
            row=LogRow.read(row),
            stage=text_of(row, "stage"),
            trace_id=text_of(row, "trace_id"),
            session_id=text_of(row, "session_id"),
            service=text_of(row, "service"),
            remote_name=text_of(row, "remote_name"),
            account=text_of(row, "account"),
            helo=text_of(row, "helo"),
            tls=text_of(row, "tls"),
            size_bytes=int_of(row, "size_bytes"),
            authentication=text_of(row, "authentication"),
            junk_score=float_of(row, "junk_score"),
            reject_score=float_of(row, "reject_score"),
            findings=[Said.read(each) for each in rows_of(row, "findings")],
            copies=[MailCopy.read(each) for each in rows_of(row, "copies")],
            queue_ids=texts_of(row, "queue_ids"),
            seconds=float_of(row, "duration_seconds"),
        )


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One line of the mail log."""

    at: datetime | None
    verb: str
    direction: str
    queue_id: str
    recipients: Sequence[str]
    remote: str
    tls: str
    code: int
    text: str
    seconds: float

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> MailEvent:
        """From `trace.show`."""
        verb, direction, queue_id = (text_of(row, name) for name in ("verb", "direction", "queue_id"))
        return cls(
            when_of(row, "at"),
            verb,
            direction,
            queue_id,
            texts_of(row, "recipients"),
            text_of(row, "remote"),
            text_of(row, "tls"),
            int_of(row, "code"),
            text_of(row, "text") or text_of(row, "reason"),
            float_of(row, "duration_seconds"),
        )
