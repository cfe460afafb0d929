"""Who may not connect for now, with reason and expiry: one truth in `state.db` for all processes and all protocols.

Looking a client up is a look into this process's own table, made anew within a second of any change. Trouble with the file
leaves the table as it is: bans go on until they expire, new ones hold in the process that made them.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal, Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError
from mailbox_app.policy.settings import address_of
from mailbox_app.policy.state.trouble import Trouble

BanSource = Literal["operator", "policy", "login"]
MAX_ROWS = 50_000
"""Some 10 MB of memory in each process; those that end soonest make room."""
REASON_CHARACTERS = 300
_MAKE_ROOM = """
    DELETE FROM bans WHERE network IN
        (SELECT network FROM bans WHERE expires_at_seconds > 0 ORDER BY expires_at_seconds LIMIT ?)
"""
_ADD = """
    INSERT INTO bans (network, source, reason, made_at_seconds, expires_at_seconds) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (network) DO UPDATE SET source = excluded.source, reason = excluded.reason,
        made_at_seconds = excluded.made_at_seconds, expires_at_seconds = excluded.expires_at_seconds
    WHERE excluded.source = 'operator'
        OR (bans.expires_at_seconds > 0 AND bans.expires_at_seconds < excluded.expires_at_seconds)
"""  # an automatic ban never shortens another one


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban."""

    network: str
    """In canonical form: "192.0.2.1/32", "2001:db8::/64"."""
    source: BanSource
    reason: str
    made_at_seconds: float
    expires_at_seconds: float = 0.0
    """0: until somebody removes it."""


class Bans(Protocol):
    """All bans. Only `find` may be called on the loop."""

    def find(self, remote_ip: str) -> Ban | None:
        """The ban that holds for this client now. A look into memory."""
        ...

    def add(self, ban: Ban) -> None:
        """Ban; holds in this process at once, in the others within a second. Raises `StoreError`."""
        ...

    def remove(self, network: str) -> Ban | None:
        """Let in again; the ban there was. Raises `StoreError`."""
        ...

    def all(self) -> Sequence[Ban]:
        """Those in force, newest first. Raises `StoreError`."""
        ...

    def refresh(self) -> None:
        """See what other processes changed. Never raises."""
        ...


class BanTable(ABC):
    """The bans as this process last saw them; safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._table: dict[tuple[int, int], dict[int, Ban]] = {}
        """By version and prefix length: shifted network number to ban."""
        self._trouble = Trouble(structlog.get_logger("policy"), "bans_unreadable")

    def find(self, remote_ip: str) -> Ban | None:
        """See `Bans`."""
        if not self._table:
            return None
        address = address_of(remote_ip)
        if address is None:
            return None
        number, now = int(address), self._clock.epoch_seconds()
        for (version, bits), bans in self._table.items():
            if version == address.version:
                ban = bans.get(number >> (address.max_prefixlen - bits))
                if ban is not None and (not ban.expires_at_seconds or ban.expires_at_seconds > now):
                    return ban
        return None

    def refresh(self) -> None:
        """See `Bans`."""
        try:
            with self._lock:
                self._read_changes()
        except StoreError as error:
            self._trouble.met(error)
        else:
            self._trouble.over()

    @abstractmethod
    def _read_changes(self) -> None:
        """Make the table anew if others changed something."""

    def _hold(self, ban: Ban) -> None:
        """At once in this process, whatever becomes of the others."""
        with self._lock:
            self._table = _with(self._table, ban)

    def _replace(self, bans: Iterable[Ban]) -> None:
        table: dict[tuple[int, int], dict[int, Ban]] = {}
        for ban in bans:
            _put(table, ban)
        self._table = table


class SqliteBans(BanTable):
    """`Bans` in `state.db`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(clock)
        self._database = database
        self._seen: tuple[int, int] | None = None

    def add(self, ban: Ban) -> None:
        """See `Bans`."""
        values = (ban.network, ban.source, ban.reason[:REASON_CHARACTERS], ban.made_at_seconds, ban.expires_at_seconds)
        self._hold(ban)
        with self._database.transaction(durable=False) as connection:
            connection.execute(
                "DELETE FROM bans WHERE expires_at_seconds > 0 AND expires_at_seconds <= ?", (ban.made_at_seconds,)
            )
            connection.execute(_ADD, values)
            if connection.execute("SELECT count(*) FROM bans").fetchone()[0] > MAX_ROWS:
                connection.execute(_MAKE_ROOM, (MAX_ROWS // 10,))
            _changed(connection)
        self.refresh()

    def remove(self, network: str) -> Ban | None:
        """See `Bans`."""
        with self._database.transaction(durable=False) as connection:
            row = connection.execute(
                "DELETE FROM bans WHERE network = ?"
                " RETURNING network, source, reason, made_at_seconds, expires_at_seconds",
                (network,),
            ).fetchone()
            _changed(connection)
        self.refresh()
        return Ban(*row) if row else None

    def all(self) -> Sequence[Ban]:
        """See `Bans`."""
        with self._database.reading() as connection:
            return _read(connection, self._clock.epoch_seconds())

    def _read_changes(self) -> None:
        file_version = self._database.data_version()
        if self._seen is not None and self._seen[0] == file_version:
            return  # nobody wrote anything
        with self._database.reading() as connection:
            row = connection.execute("SELECT version FROM state_versions WHERE subject = 'bans'").fetchone()
            version = row[0] if row else 0
            if self._seen is None or self._seen[1] != version:
                self._replace(_read(connection, self._clock.epoch_seconds()))
        self._seen = file_version, version


def canonical_network(text: str) -> str:
    """A network or address as bans are kept by; ValueError when it is none."""
    address = address_of(text.strip())
    return str(ip_network(address) if address is not None else ip_network(text.strip(), strict=False))


def _read(connection: sqlite3.Connection, now: float) -> Sequence[Ban]:
    rows = connection.execute(
        "SELECT network, source, reason, made_at_seconds, expires_at_seconds FROM bans"
        " WHERE expires_at_seconds = 0 OR expires_at_seconds > ? ORDER BY made_at_seconds DESC",
        (now,),
    )
    return [Ban(*row) for row in rows]


def _changed(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO state_versions (subject, version) VALUES ('bans', 1)"
        " ON CONFLICT (subject) DO UPDATE SET version = version + 1"
    )


def _put(table: dict[tuple[int, int], dict[int, Ban]], ban: Ban) -> None:
    network = ip_network(ban.network)
    number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    table.setdefault((network.version, network.prefixlen), {})[number] = ban


def _with(table: dict[tuple[int, int], dict[int, Ban]], ban: Ban) -> dict[tuple[int, int], dict[int, Ban]]:
    """A table with one more; readers on the loop keep the old one."""
    network = ip_network(ban.network)
    key = (network.version, network.prefixlen)
    copy = {**table, key: dict(table.get(key, {}))}
    _put(copy, ban)
    return copy
