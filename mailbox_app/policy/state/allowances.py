"""Whom the administrator never keeps waiting: senders, domains, networks, for all or for one recipient, and recipients who
want no greylisting. In `state.db`.

Changed from the console, seen by all processes at once. Storage trouble counts as "allowed": see `greylist.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import MailboxError, StoreError

KINDS = ("sender", "domain", "network", "recipient")
MAX_ROWS = 10_000
_MAX_LABELS = 10


@dataclass(frozen=True, slots=True)
class Allowance:
    """One exemption."""

    kind: str
    value: str
    note: str
    created_at_seconds: float
    recipient: str = ""
    """An address or domain of ours that it holds for alone; "": for all."""


class Allowances(Protocol):
    """What the check asks and the console changes. Everything blocks; safe from any thread."""

    def why(self, remote_ip: str, sender: str, recipient: str) -> str:
        """Why this mail never waits; "": nothing is said about it."""
        ...

    def add(self, kind: str, value: str, note: str = "", recipient: str = "") -> Allowance:
        """Exempt; `greylist.bad_value` when the value is none of its kind."""
        ...

    def remove(self, kind: str, value: str, recipient: str = "") -> Allowance | None:
        """End an exemption; None: there is none."""
        ...

    def all(self) -> Sequence[Allowance]:
        """Every exemption by kind and value."""
        ...


class SqliteAllowances:
    """In `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("greylist")

    def why(self, remote_ip: str, sender: str, recipient: str) -> str:
        """Why this mail never waits; "": nothing is said about it."""
        address = _packed(remote_ip)
        sender, recipient = sender.lower(), recipient.lower()
        own_domain = recipient.rpartition("@")[2]
        names = names_above(sender.rpartition("@")[2])
        marks = ", ".join("?" * len(names))
        try:
            with self._database.reading() as connection:
                row = connection.execute(
                    "SELECT kind, value FROM greylist_allowed WHERE recipient IN ('', ?, ?)"  # noqa: S608 - marks
                    " AND ((kind = 'sender' AND value = ?)"
                    " OR (kind = 'recipient' AND value IN (?, ?)) OR (kind = 'network' AND ? BETWEEN low AND high)"
                    f" OR (kind = 'domain' AND value IN ({marks}))) LIMIT 1",
                    (recipient, own_domain, sender, recipient, own_domain, address, *names),
                ).fetchone()
        except StoreError as error:
            self._log.warning("greylist_unusable", code=error.code)
            return "the list of exemptions cannot be read"
        return f"the {row[0]} {row[1]} is exempt" if row else ""

    def add(self, kind: str, value: str, note: str = "", recipient: str = "") -> Allowance:
        """Exempt; `greylist.bad_value` when the value is none of its kind."""
        value, low, high = read_value(kind, value)
        allowance = Allowance(kind, value, note[:200], self._clock.epoch_seconds(), read_recipient(kind, recipient))
        with self._database.transaction() as connection:
            if connection.execute("SELECT count(*) FROM greylist_allowed").fetchone()[0] >= MAX_ROWS:
                raise MailboxError("greylist.full", f"there are {MAX_ROWS} exemptions already", temporary=False)
            connection.execute(
                "INSERT INTO greylist_allowed (kind, value, recipient, low, high, note, created_at_seconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kind, value, recipient) DO UPDATE SET note = excluded.note",
                (kind, value, allowance.recipient, low, high, allowance.note, allowance.created_at_seconds),
            )
        return allowance

    def remove(self, kind: str, value: str, recipient: str = "") -> Allowance | None:
        """End an exemption; None: there is none."""
        value, _, _ = read_value(kind, value)
        with self._database.transaction() as connection:
            row = connection.execute(
                "DELETE FROM greylist_allowed WHERE kind = ? AND value = ? AND recipient = ?"
                " RETURNING kind, value, note, created_at_seconds, recipient",
                (kind, value, read_recipient(kind, recipient)),
            ).fetchone()
        return Allowance(*row) if row else None

    def all(self) -> Sequence[Allowance]:
        """Every exemption by kind and value."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT kind, value, note, created_at_seconds, recipient FROM greylist_allowed"
                " ORDER BY kind, value, recipient"
            ).fetchall()
        return [Allowance(*row) for row in rows]


def names_above(domain: str) -> Sequence[str]:
    """The domain and those above it, the longest first; never more than ten."""
    labels = domain.split(".")[-_MAX_LABELS:]
    return [".".join(labels[start:]) for start in range(len(labels))]


def read_value(kind: str, value: str) -> tuple[str, bytes | None, bytes | None]:
    """(value in its one form, first and last address of a network)."""
    text = value.strip().lower()
    if kind not in KINDS:
        raise MailboxError("greylist.bad_value", f"{kind!r} is none of {', '.join(KINDS)}", temporary=False)
    if kind == "network":
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise MailboxError("greylist.bad_value", f"{value!r} is no network", temporary=False) from error
        return str(network), _packed(str(network[0])), _packed(str(network[-1]))
    local, at, domain = text.rpartition("@")
    if kind == "domain" or (kind == "recipient" and not local):
        text, needs_local = domain.strip("."), False
    else:
        needs_local = True
    if not domain or " " in text or "." not in domain or (needs_local and not (local and at)):
        raise MailboxError("greylist.bad_value", f"{value!r} is no {kind}", temporary=False)
    return text, None, None


def read_recipient(kind: str, recipient: str) -> str:
    """An address or domain of ours in its one form."""
    if not recipient:
        return ""
    if kind == "recipient":
        raise MailboxError("greylist.bad_value", "a recipient is exempt as such, not for another one", temporary=False)
    return read_value("recipient", recipient if "@" in recipient else f"@{recipient}")[0]


def _packed(address: str) -> bytes:
    """16 bytes; IPv4 in its IPv6 form, so that one order holds for both."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return b""
    return parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed
