"""Failed logins of all processes, in `state.db` or Redis: with four fronts, or two nodes, a stranger has ten guesses, not forty.

Asked and written in the thread that hashes anyway, so a login costs the loop nothing more; a remembered login never comes
here. Nothing is lost that matters when the file is: the count begins anew. Storage trouble counts as no failures known; each
process goes on with its own `LoginGuard`. Guesses are stored as two bytes of a keyed digest whose key is in memory only: enough
to tell ten of them apart, useless to find out what was guessed.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

import structlog

from mailbox_app.accounts.login_guard import MAX_FAILURES, WINDOW_SECONDS, network_of
from mailbox_app.clock import Clock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import StoreError

_GUESS_BYTES = 2
_NAME_CHARACTERS = 320
_MAX_ROWS = 100_000
"""Some 10 MB; a network stops adding rows when it is refused, so only very many networks come here."""
_GUESSES = "SELECT count(DISTINCT guess) FROM login_failures WHERE network = ?"


class LoginWatch(Protocol):
    """Who wants to know what came of logins."""

    def succeeded(self, remote_ip: str) -> None:
        """Somebody logged in from there; quick."""
        ...

    def guessed_enough(self, remote_ip: str, name: str) -> None:
        """A client just came to the limit of different guesses, the last one for this name. In a thread; never raises."""
        ...


class FailureStore(Protocol):
    """Where failures lie for ten minutes. Everything blocks and raises `StoreError`."""

    def count(self, network: str, name: str, since_seconds: float) -> tuple[int, int]:
        """(different guesses of the network, its failures for the name)."""
        ...

    def add(self, network: str, name: str, guess: bytes, now_seconds: float) -> tuple[int, int]:
        """Add one; the network's different guesses before and after."""
        ...


class LoginFailures:
    """Safe from any thread. `key` is the same in all processes of one daemon."""

    def __init__(self, store: FailureStore, clock: Clock, key: bytes, watch: LoginWatch | None = None) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self._watch = watch
        self._log = structlog.get_logger("auth")
        self._is_troubled = False

    def refuses(self, remote_ip: str, name: str) -> bool:
        """Whether this remote address has guessed enough for now, at all processes together. Blocking."""
        since = self._clock.epoch_seconds() - WINDOW_SECONDS
        try:
            counts = self._store.count(network_of(remote_ip), name[:_NAME_CHARACTERS], since)
        except StoreError as error:
            self._troubled(error)
            return False
        self._is_troubled = False
        return max(counts) >= MAX_FAILURES

    def failed(self, remote_ip: str, name: str, guess: str) -> None:
        """Count one; `guess` tells equal guesses from different ones. Blocking."""
        now = self._clock.epoch_seconds()
        digest = hmac.digest(self._key, f"{name}\0{guess}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        try:
            before, after = self._store.add(network_of(remote_ip), name[:_NAME_CHARACTERS], digest[:_GUESS_BYTES], now)
        except StoreError as error:
            self._troubled(error)
            return
        self._is_troubled = False
        if self._watch is not None and before < MAX_FAILURES <= after:
            self._watch.guessed_enough(remote_ip, name)

    def succeeded(self, remote_ip: str) -> None:
        """Somebody logged in from there; quick."""
        if self._watch is not None:
            self._watch.succeeded(remote_ip)

    def _troubled(self, error: StoreError) -> None:
        if not self._is_troubled:
            self._log.warning("login_failures_uncounted", code=error.code)
        self._is_troubled = True


class SqliteFailures:
    """`FailureStore` in `state.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, network: str, name: str, since_seconds: float) -> tuple[int, int]:
        """See `FailureStore`."""
        with self._database.reading() as connection:
            guesses, failures = connection.execute(
                "SELECT count(DISTINCT guess), count(CASE WHEN name = ? THEN 1 END) FROM login_failures"
                " WHERE network = ? AND at_seconds > ?",
                (name, network, since_seconds),
            ).fetchone()
        return guesses, failures

    def add(self, network: str, name: str, guess: bytes, now_seconds: float) -> tuple[int, int]:
        """See `FailureStore`."""
        with self._database.transaction(durable=False) as connection:
            connection.execute("DELETE FROM login_failures WHERE at_seconds <= ?", (now_seconds - WINDOW_SECONDS,))
            before = connection.execute(_GUESSES, (network,)).fetchone()[0]
            connection.execute(
                "INSERT INTO login_failures (network, name, guess, at_seconds) VALUES (?, ?, ?, ?)",
                (network, name, guess, now_seconds),
            )
            after = connection.execute(_GUESSES, (network,)).fetchone()[0]
            if connection.execute("SELECT count(*) FROM login_failures").fetchone()[0] > _MAX_ROWS:
                connection.execute(
                    "DELETE FROM login_failures WHERE at_seconds <="
                    " (SELECT at_seconds FROM login_failures ORDER BY at_seconds LIMIT 1 OFFSET ?)",
                    (_MAX_ROWS // 10,),
                )
        return before, after
