"""Failed logins of all processes, in `state.db`: with four fronts a stranger has ten guesses, not forty.

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


class LoginFailures:
    """Safe from any thread. `key` is the same in all processes of one daemon."""

    def __init__(self, database: Database, clock: Clock, key: bytes, watch: LoginWatch | None = None) -> None:
        self._watch = watch
        self._database = database
        self._clock = clock
        self._key = key
        self._log = structlog.get_logger("auth")

    def refuses(self, remote_ip: str, name: str) -> bool:
        """Whether this remote address has guessed enough for now, at all processes together. Blocking."""
        since = self._clock.epoch_seconds() - WINDOW_SECONDS
        try:
            with self._database.reading() as connection:
                row = connection.execute(
                    "SELECT count(DISTINCT guess), count(CASE WHEN name = ? THEN 1 END) FROM login_failures"
                    " WHERE network = ? AND at_seconds > ?",
                    (name[:_NAME_CHARACTERS], network_of(remote_ip), since),
                ).fetchone()
        except StoreError as error:
            self._log.warning("login_failures_unreadable", code=error.code)
            return False
        return bool(max(row) >= MAX_FAILURES)

    def failed(self, remote_ip: str, name: str, guess: str) -> None:
        """Count one; `guess` tells equal guesses from different ones. Blocking."""
        now = self._clock.epoch_seconds()
        network = network_of(remote_ip)
        digest = hmac.digest(self._key, f"{name}\0{guess}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        try:
            with self._database.transaction(durable=False) as connection:
                connection.execute("DELETE FROM login_failures WHERE at_seconds <= ?", (now - WINDOW_SECONDS,))
                before = connection.execute(_GUESSES, (network,)).fetchone()[0]
                connection.execute(
                    "INSERT INTO login_failures (network, name, guess, at_seconds) VALUES (?, ?, ?, ?)",
                    (network, name[:_NAME_CHARACTERS], digest[:_GUESS_BYTES], now),
                )
                after = connection.execute(_GUESSES, (network,)).fetchone()[0]
                if connection.execute("SELECT count(*) FROM login_failures").fetchone()[0] > _MAX_ROWS:
                    connection.execute(
                        "DELETE FROM login_failures WHERE at_seconds <="
                        " (SELECT at_seconds FROM login_failures ORDER BY at_seconds LIMIT 1 OFFSET ?)",
                        (_MAX_ROWS // 10,),
                    )
        except StoreError as error:
            self._log.warning("login_failures_unwritable", code=error.code)
            return
        if self._watch is not None and before < MAX_FAILURES <= after:
            self._watch.guessed_enough(remote_ip, name)

    def succeeded(self, remote_ip: str) -> None:
        """Somebody logged in from there; quick."""
        if self._watch is not None:
            self._watch.succeeded(remote_ip)
