"""What holds mail up, as typed rows: who waits, who is exempt, who is banned, the checks and the DNS lists.

Every row tells its cells by column name, so that one list shows them all.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tui.decision_models import texts_of
from tui.format import age, clock, day, stamp, until
from tui.models import int_of, text_of, when_of

Cell = tuple[str, str]


class Held(Protocol):
    """A row of one of the panes."""

    @property
    def key(self) -> Hashable:
        """Its identity."""

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""

    def story(self, now: datetime) -> Sequence[str]:
        """Sentences about it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who was asked to come back."""

    greylist_id: int
    sender: str
    recipient: str
    remote_ip: str
    origin: str
    reason: str
    first_at: datetime | None
    last_at: datetime | None
    attempts: int
    passes_at: datetime | None
    latest_at: datetime | None

    @property
    def key(self) -> int:
        """Its number."""
        return self.greylist_id

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Waiting:
        """From `greylist.list`."""
        return cls(
            int_of(row, "greylist_id"),
            text_of(row, "sender"),
            text_of(row, "recipient"),
            text_of(row, "remote_ip"),
            text_of(row, "origin"),
            text_of(row, "reason"),
            when_of(row, "first_at"),
            when_of(row, "last_at"),
            int_of(row, "attempts"),
            when_of(row, "passes_at"),
            when_of(row, "passes_at_latest"),
        )

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""
        open_now = self.passes_at is not None and self.passes_at <= now
        return {
            "SINCE": (age(self.first_at, now), "dim"),
            "TRY": (str(self.attempts), "dim"),
            "PASSES": ("now" if open_now else until(self.passes_at, now), "ok" if open_now else "warn"),
            "FROM": (self.sender or "<>", "text"),
            "TO": (self.recipient, "text"),
            "CLIENT": (self.remote_ip, "dim"),
            "WHY": (self.reason, "dim"),
        }[name]

    def story(self, now: datetime) -> Sequence[str]:
        """Why it waits and when it does no longer."""
        first, anywhere, last = (clock(at, now) for at in (self.passes_at, self.latest_at, self.last_at))
        return (
            f"{self.sender or '<>'} to {self.recipient}, from {self.remote_ip}: {self.reason}",
            f"Passes from {first} by {self.origin}, from {anywhere} by anybody; tried last {last}.",
        )


@dataclass(frozen=True, slots=True)
class Allowance:
    """Somebody who is never asked to come back."""

    kind: str
    value: str
    note: str
    created_at: datetime | None
    recipient: str = ""
    """Whom it holds for alone; "": all."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What, who and for whom."""
        return (self.kind, self.value, self.recipient)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Allowance:
        """From `greylist.allowed`."""
        return cls(
            text_of(row, "kind"),
            text_of(row, "value"),
            text_of(row, "note"),
            when_of(row, "created_at"),
            text_of(row, "recipient"),
        )

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""
        return {
            "KIND": (self.kind, "accent"),
            "WHO": (f"{self.value} for {self.recipient}" if self.recipient else self.value, "text"),
            "SINCE": (day(self.created_at, now), "dim"),
            "NOTE": (self.note, "dim"),
        }[name]

    def story(self, now: datetime) -> Sequence[str]:
        """What it means."""
        whose = "Mail to this recipient" if self.kind == "recipient" else f"Mail from this {self.kind}"
        whose += f" to {self.recipient}" if self.recipient else ""
        return (f"{whose} never waits since {day(self.created_at, now)}.", self.note)


@dataclass(frozen=True, slots=True)
class Ban:
    """A network that may not connect."""

    network: str
    source: str
    reason: str
    made_at: datetime | None
    expires_at: datetime | None
    without_effect: bool

    @property
    def key(self) -> str:
        """The network."""
        return self.network

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Ban:
        """From `ban.list`."""
        network, source, reason = (text_of(row, name) for name in ("network", "source", "reason"))
        idle = bool(row.get("without_effect"))
        return cls(network, source, reason, when_of(row, "made_at"), when_of(row, "expires_at"), idle)

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""
        return {
            "NETWORK": (self.network, "text"),
            "BY": (self.source, "dim"),
            "SINCE": (age(self.made_at, now), "dim"),
            "LEFT": ("ever" if self.expires_at is None else until(self.expires_at, now), "warn"),
            "WHY": (f"{'(without effect) ' if self.without_effect else ''}{self.reason}", "dim"),
        }[name]

    def story(self, now: datetime) -> Sequence[str]:
        """Who made it, until when, and why."""
        end = "until it is removed" if self.expires_at is None else f"until {stamp(self.expires_at, now).strip()}"
        idle = " Without effect: it is trusted or on the allow list, which always wins." if self.without_effect else ""
        return (f"{self.network} may not connect {end}, by any protocol.{idle}", f"{self.source}: {self.reason}")


@dataclass(frozen=True, slots=True)
class Check:
    """One check of mail from outside."""

    name: str
    stage: str
    mode: str
    default_mode: str
    doc: str

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Check:
        """From `policy.show`."""
        return cls(*(text_of(row, name) for name in ("name", "stage", "mode", "default_mode", "doc")))

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""
        role = {"enforce": "ok", "advisory": "warn"}.get(self.mode, "faint")
        return {
            "MODE": (self.mode, role),
            "CHECK": (self.name, "text"),
            "LOOKS AT": (self.stage, "dim"),
            "WHAT": (self.doc, "dim"),
        }[name]

    def story(self, now: datetime) -> Sequence[str]:
        """What its mode means."""
        modes = {"off": "this is not looked at", "advisory": "it is written down without a say", "enforce": "it counts"}
        changed = "" if self.mode == self.default_mode else f" By default: {self.default_mode}."
        return (self.doc, f"{self.mode}: {modes.get(self.mode, 'as the daemon knows')}.{changed}")


@dataclass(frozen=True, slots=True)
class DnsList:
    """One DNS list."""

    zone: str
    use: str
    off: bool
    meanings: Sequence[str]

    @property
    def key(self) -> tuple[str, str]:
        """Zone and use."""
        return (self.zone, self.use)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> DnsList:
        """From `policy.show`."""
        return cls(text_of(row, "zone"), text_of(row, "use"), bool(row.get("off")), texts_of(row, "meanings"))

    def cell(self, name: str, now: datetime) -> Cell:
        """Text and role of one column."""
        return {
            "ST": ("OFF!", "bad") if self.off else ("ok", "ok"),
            "ZONE": (self.zone, "text"),
            "USE": (self.use, "dim"),
            "ANSWERS": (", ".join(self.meanings), "dim"),
        }[name]

    def story(self, now: datetime) -> Sequence[str]:
        """Whether it is asked."""
        if self.off:
            return (
                f"{self.zone} gave an answer that it does not document: it is not believed, and not asked for an hour.",
                "The log line dns_list_switched_off tells which. Perhaps it wants a registration, or another resolver.",
            )
        return (f"{self.zone} is asked; its answers mean: {', '.join(self.meanings) or '-'}.",)
