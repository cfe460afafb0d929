"""Who was asked to come back, who came back, and who need not: greylisting's memory in `state.db`, shared by all processes.

Two keys are kept. The *origin* (a domain that answers for the client, else its network) with the sender's domain and the
recipient is what passes and stays passed. The *letter* (sender and recipient, whoever brings it) bounds the wait for pools that
try from another place each time. Some of them write another sender address at each try, so what varies in it does not count,
and a second letter is kept for the sender's registered domain as a whole: it asks more of clients without a name, for
robots like to borrow one domain, and is not kept when SPF says that the domain is borrowed.
An early attempt is counted and changes no clock, so whoever keeps trying is in within the ceiling. Storage trouble lets
everything pass: this file may only delay mail, never lose it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.policy.names import registered_domain

WAITING_SECONDS = 2 * 86_400.0
"""Who does not come back for so long begins anew: longer than the gaps in any sensible retry schedule."""
TOUCH_SECONDS = 6 * 3_600.0
"""A known sender's last visit is written no more often: most visits only read."""
_CLEAN_SECONDS = 900.0
_CLEAN_AFTER_ROWS = 5_000
_CLEAN_STEP_ROWS = 20_000
"""What one clean-up takes from one table, so that it never holds the file for long."""
MAX_ROWS = 200_000
"""Of each table; some 50 MB. The oldest go first."""
TEXT_CHARACTERS = 320
_VARYING = re.compile(r"[a-z0-9]*\d[a-z0-9]*|[a-z]{20,}")
"""Numbers of letters, of bounces and of days in a sender's address."""

Word = Literal["known", "network_known", "domain_known", "came_back", "ceiling", "waits", "error"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the configuration says."""

    min_delay_seconds: float
    max_age_seconds: float
    ceiling_seconds: float
    attempts: int
    """Spread attempts after which a letter passes wherever it comes from."""
    network_passes: int
    """Deliveries after which an origin passes for everybody; 0: never."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sender at the door. All text in lower case."""

    origin: str
    """`spf:domain`, `ptr:domain` or a network."""
    sender: str
    sender_key: str
    """The sender's domain; of the null sender `<>` and the greeting name."""
    recipient: str
    remote_ip: str
    reason: str
    """Why it has to wait when nothing is known about it."""
    is_disowned: bool = False
    """SPF says that the domain does not send from there."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`word` says why; only "waits" delays."""

    word: Word
    wait_seconds: float = 0.0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row for people: who waits for whom since when."""

    greylist_id: int
    origin: str
    sender: str
    recipient: str
    remote_ip: str
    reason: str
    first_at_seconds: float
    last_at_seconds: float
    attempts: int


@dataclass(frozen=True, slots=True)
class KnownDomain:
    """When a domain last proved itself; 0.0: never."""

    spf_at_seconds: float = 0.0
    dkim_at_seconds: float = 0.0


class Greylist(Protocol):
    """What the check and the console ask. Everything blocks; safe from any thread."""

    def decide(self, attempt: Attempt, rule: Rule) -> Decision:
        """Count the attempt and say whether it waits."""
        ...

    def domain(self, name: str, max_age_seconds: float) -> KnownDomain:
        """What is known about a sender's domain; nothing when it is too long ago."""
        ...

    def proved(self, name: str, *, spf: bool, dkim: bool) -> None:
        """Remember that a message of this domain was wanted and vouched for."""
        ...

    def waiting(self, limit: int, offset: int, text: str = "") -> tuple[Sequence[Waiting], int]:
        """Who waits, the longest first, and how many in all; only those in whose row a text occurs."""
        ...

    def let_in(self, greylist_id: int) -> Waiting | None:
        """End one wait now; None: there is no such row any more."""
        ...


class SqliteGreylist:
    """In `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("greylist")
        self._cleaned_at = 0.0
        self._added = 0

    def decide(self, attempt: Attempt, rule: Rule) -> Decision:
        """Count the attempt and say whether it waits. A known sender costs reads only."""
        now = self._clock.epoch_seconds()
        try:
            with self._database.reading() as connection:
                known = _known(connection, attempt, rule, now)
            if known is not None and now - known[1] < TOUCH_SECONDS:
                return Decision(known[0])
            with self._database.transaction(durable=False) as connection:
                self._clean(connection, rule, now)
                if known is not None:
                    _touch(connection, attempt, now)
                    return Decision(known[0])
                return self._count(connection, attempt, rule, now)
        except StoreError as error:
            self._log.warning("greylist_unusable", code=error.code)
            return Decision("error")

    def _count(self, connection: sqlite3.Connection, attempt: Attempt, rule: Rule, now: float) -> Decision:
        row = connection.execute(
            "SELECT greylist_id, first_at_seconds, last_at_seconds, attempts, passed_at_seconds FROM greylist"
            " WHERE origin = ? AND sender_key = ? AND recipient = ?",
            (attempt.origin, attempt.sender_key, attempt.recipient),
        ).fetchone()
        if row is not None and row[4] is not None and now - row[2] <= rule.max_age_seconds:
            return Decision("known")  # another process was quicker
        first_at, attempts = now, 1
        if row is not None and row[4] is None and now - row[2] < WAITING_SECONDS:
            first_at, attempts = min(row[1], now), row[3] + 1
        self._added += row is None
        is_over = _count_letters(connection, attempt, rule, now)
        delay = min(rule.min_delay_seconds, rule.ceiling_seconds)
        waits = now - first_at < delay and not is_over
        connection.execute(
            "INSERT INTO greylist (origin, sender_key, recipient, sender, remote_ip, reason, first_at_seconds,"
            " last_at_seconds, attempts, passed_at_seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (origin, sender_key, recipient) DO UPDATE SET sender = excluded.sender,"
            " remote_ip = excluded.remote_ip, reason = excluded.reason, first_at_seconds = excluded.first_at_seconds,"
            " last_at_seconds = excluded.last_at_seconds, attempts = excluded.attempts,"
            " passed_at_seconds = excluded.passed_at_seconds",
            (
                attempt.origin,
                attempt.sender_key,
                attempt.recipient,
                attempt.sender[:TEXT_CHARACTERS],
                attempt.remote_ip,
                attempt.reason[:TEXT_CHARACTERS],
                first_at,
                now,
                attempts,
                None if waits else now,
            ),
        )
        if waits:
            return Decision("waits", first_at + delay - now, attempts)
        connection.execute(
            "INSERT INTO greylist_origins (origin, passes, last_at_seconds) VALUES (?, 1, ?) ON CONFLICT (origin)"
            " DO UPDATE SET passes = CASE WHEN last_at_seconds < ? THEN 1 ELSE passes + 1 END,"
            " last_at_seconds = excluded.last_at_seconds",
            (attempt.origin, now, now - rule.max_age_seconds),
        )
        return Decision("came_back" if now - first_at >= delay else "ceiling", 0.0, attempts)

    def domain(self, name: str, max_age_seconds: float) -> KnownDomain:
        """What is known about a sender's domain; nothing when it is too long ago."""
        since = self._clock.epoch_seconds() - max_age_seconds
        try:
            with self._database.reading() as connection:
                row = connection.execute(
                    "SELECT spf_at_seconds, dkim_at_seconds FROM greylist_domains WHERE domain = ?", (name,)
                ).fetchone()
        except StoreError as error:
            self._log.warning("greylist_unusable", code=error.code)
            row = None
        if row is None:
            return KnownDomain()
        return KnownDomain(*(at if at > since else 0.0 for at in row))

    def proved(self, name: str, *, spf: bool, dkim: bool) -> None:
        """Remember that a message of this domain was wanted and vouched for."""
        now = self._clock.epoch_seconds()
        try:
            with self._database.transaction(durable=False) as connection:
                self._added += 1
                connection.execute(
                    "INSERT INTO greylist_domains (domain, spf_at_seconds, dkim_at_seconds) VALUES (?, ?, ?)"
                    " ON CONFLICT (domain) DO UPDATE SET"
                    " spf_at_seconds = max(spf_at_seconds, excluded.spf_at_seconds),"
                    " dkim_at_seconds = max(dkim_at_seconds, excluded.dkim_at_seconds)",
                    (name[:TEXT_CHARACTERS], now if spf else 0.0, now if dkim else 0.0),
                )
        except StoreError as error:
            self._log.warning("greylist_unusable", code=error.code)

    def waiting(self, limit: int, offset: int, text: str = "") -> tuple[Sequence[Waiting], int]:
        """Who waits, the longest first, and how many in all; only those in whose row a text occurs."""
        since = self._clock.epoch_seconds() - WAITING_SECONDS
        where = "FROM greylist WHERE passed_at_seconds IS NULL AND last_at_seconds > ?"
        values: tuple[float | str, ...] = (since,)
        if text:
            where += (
                " AND instr(lower(sender || ' ' || recipient || ' ' || remote_ip || ' ' || origin || ' ' || reason), ?)"
            )
            values = (since, text.lower())
        with self._database.reading() as connection:
            total = connection.execute(f"SELECT count(*) {where}", values).fetchone()[0]
            rows = connection.execute(
                f"SELECT {_WAITING_COLUMNS} {where} ORDER BY first_at_seconds, greylist_id LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        return [Waiting(*row) for row in rows], total

    def let_in(self, greylist_id: int) -> Waiting | None:
        """End one wait now, also for the rest of a pool; None: there is no such row any more."""
        now = self._clock.epoch_seconds()
        with self._database.transaction(durable=False) as connection:
            row = connection.execute(
                f"SELECT {_WAITING_COLUMNS}, sender_key FROM greylist WHERE greylist_id = ?",  # noqa: S608 - our own names
                (greylist_id,),
            ).fetchone()
            if row is None:
                return None
            found = Waiting(*row[:-1])
            connection.execute(
                "UPDATE greylist SET passed_at_seconds = ?, last_at_seconds = ? WHERE greylist_id = ?",
                (now, now, greylist_id),
            )
            connection.execute(
                "UPDATE greylist_letters SET first_at_seconds = 0, last_at_seconds = ? WHERE sender = ? AND recipient = ?",
                (now, letter_of(found.sender, row[-1]), found.recipient),
            )
        return found

    def _clean(self, connection: sqlite3.Connection, rule: Rule, now: float) -> None:
        """Forget what counts no more, at intervals or after very many new rows; a bounded piece at a time."""
        if 0 <= now - self._cleaned_at < _CLEAN_SECONDS and self._added < _CLEAN_AFTER_ROWS:
            return
        self._cleaned_at, self._added = now, 0
        waited, aged = now - WAITING_SECONDS, now - rule.max_age_seconds
        step = _CLEAN_STEP_ROWS
        connection.execute(
            "DELETE FROM greylist WHERE greylist_id IN (SELECT greylist_id FROM greylist WHERE last_at_seconds < ?"
            " OR (passed_at_seconds IS NULL AND last_at_seconds < ?) ORDER BY last_at_seconds LIMIT ?)",
            (aged, waited, step),
        )
        connection.execute(
            "DELETE FROM greylist_letters WHERE (sender, recipient) IN (SELECT sender, recipient FROM greylist_letters"
            " WHERE last_at_seconds < ? LIMIT ?)",
            (waited, step),
        )
        connection.execute(
            "DELETE FROM greylist_origins WHERE origin IN"
            " (SELECT origin FROM greylist_origins WHERE last_at_seconds < ? LIMIT ?)",
            (aged, step),
        )
        connection.execute(
            "DELETE FROM greylist_domains WHERE max(spf_at_seconds, dkim_at_seconds) < ?",
            (aged,),
        )
        _shrink_waiting(connection)
        _shrink(connection, "greylist", "last_at_seconds")
        _shrink(connection, "greylist_letters", "last_at_seconds")
        _shrink(connection, "greylist_origins", "last_at_seconds")
        _shrink(connection, "greylist_domains", "max(spf_at_seconds, dkim_at_seconds)")


_WAITING_COLUMNS = (
    "greylist_id, origin, sender, recipient, remote_ip, reason, first_at_seconds, last_at_seconds, attempts"
)


def _known(connection: sqlite3.Connection, attempt: Attempt, rule: Rule, now: float) -> tuple[Word, float] | None:
    """Why the attempt passes at once and when that was last written down."""
    since = now - rule.max_age_seconds
    row = connection.execute(
        "SELECT last_at_seconds FROM greylist WHERE origin = ? AND sender_key = ? AND recipient = ?"
        " AND passed_at_seconds IS NOT NULL AND last_at_seconds >= ?",
        (attempt.origin, attempt.sender_key, attempt.recipient, since),
    ).fetchone()
    if row is not None:
        return "known", row[0]
    if rule.network_passes:
        row = connection.execute(
            "SELECT last_at_seconds FROM greylist_origins WHERE origin = ? AND passes >= ? AND last_at_seconds >= ?",
            (attempt.origin, rule.network_passes, since),
        ).fetchone()
        if row is not None:
            return "network_known", row[0]
    return None


def _touch(connection: sqlite3.Connection, attempt: Attempt, now: float) -> None:
    connection.execute(
        "UPDATE greylist SET last_at_seconds = ? WHERE origin = ? AND sender_key = ? AND recipient = ?"
        " AND passed_at_seconds IS NOT NULL",
        (now, attempt.origin, attempt.sender_key, attempt.recipient),
    )
    connection.execute("UPDATE greylist_origins SET last_at_seconds = ? WHERE origin = ?", (now, attempt.origin))


def letter_of(sender: str, sender_key: str) -> str:
    """A sender's address without what varies in it; of the null sender who greets."""
    if not sender:
        return f"<> {registered_domain(sender_key.removeprefix('<> '))}"[:TEXT_CHARACTERS]
    local, _, domain = sender.rpartition("@")
    return f"{_VARYING.sub('#', local)}@{registered_domain(domain)}"[:TEXT_CHARACTERS]


def _count_letters(connection: sqlite3.Connection, attempt: Attempt, rule: Rule, now: float) -> bool:
    """Count the letter wherever it comes from; whether it has waited or tried enough."""
    letter = letter_of(attempt.sender, attempt.sender_key)
    is_over = _count_letter(connection, letter, attempt.recipient, rule, now)
    if not attempt.sender or attempt.is_disowned:
        return is_over
    whole = letter[letter.rfind("@") :]
    is_named = attempt.origin.startswith(("spf:", "ptr:"))
    if is_over or not _count_letter(connection, whole, attempt.recipient, rule, now, is_strict=not is_named):
        return is_over
    if not is_named:  # one passes; who else borrows the domain begins anew
        connection.execute(
            "DELETE FROM greylist_letters WHERE sender = ? AND recipient = ?", (whole, attempt.recipient)
        )
    return True


def _count_letter(
    connection: sqlite3.Connection, sender: str, recipient: str, rule: Rule, now: float, *, is_strict: bool = False
) -> bool:
    """One row; `is_strict`: it must have tried often enough and waited long enough."""
    row = connection.execute(
        "SELECT first_at_seconds, counted_at_seconds, attempts, last_at_seconds FROM greylist_letters"
        " WHERE sender = ? AND recipient = ?",
        (sender, recipient),
    ).fetchone()
    first_at, counted_at, attempts, gap = now, now, 1, 0.0
    if row is not None and now - row[3] < WAITING_SECONDS:
        first_at, counted_at, attempts = min(row[0], now), min(row[1], now), row[2]
        gap = now - counted_at
        if gap >= min(rule.min_delay_seconds, rule.ceiling_seconds):  # a volley of tries counts as one
            counted_at, attempts = now, attempts + 1
        else:
            gap = 0.0
    connection.execute(
        "INSERT INTO greylist_letters (sender, recipient, first_at_seconds, counted_at_seconds, last_at_seconds, attempts)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sender, recipient) DO UPDATE SET"
        " first_at_seconds = excluded.first_at_seconds, counted_at_seconds = excluded.counted_at_seconds,"
        " last_at_seconds = excluded.last_at_seconds, attempts = excluded.attempts",
        (sender, recipient, first_at, counted_at, now, attempts),
    )
    age = now - first_at
    # servers wait longer each time: one that would come back only about the ceiling is better let in now
    is_late = age >= rule.ceiling_seconds or (gap > 0 and age + 2 * gap >= rule.ceiling_seconds)
    return (is_late and attempts >= rule.attempts) if is_strict else (is_late or attempts >= rule.attempts)


def _shrink_waiting(connection: sqlite3.Connection) -> None:
    """Those who wait fill half of the table at most: a flood of strangers must not push out whom we know."""
    waiting = connection.execute("SELECT count(*) FROM greylist WHERE passed_at_seconds IS NULL").fetchone()[0]
    if (over := waiting - MAX_ROWS // 2) > 0:
        connection.execute(
            "DELETE FROM greylist WHERE greylist_id IN (SELECT greylist_id FROM greylist WHERE passed_at_seconds IS NULL"
            " ORDER BY first_at_seconds LIMIT ?)",
            (min(over, _CLEAN_STEP_ROWS) + MAX_ROWS // 40,),
        )


def _shrink(connection: sqlite3.Connection, table: str, at: str) -> None:
    """Keep a table below its bound; the oldest go. Both names are our own."""
    over = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - MAX_ROWS  # noqa: S608
    if over > 0:
        row = connection.execute(
            f"SELECT {at} FROM {table} ORDER BY {at} LIMIT 1 OFFSET ?",  # noqa: S608
            (min(over, _CLEAN_STEP_ROWS) + MAX_ROWS // 20,),
        ).fetchone()
        connection.execute(f"DELETE FROM {table} WHERE {at} <= ?", (row[0],))  # noqa: S608
