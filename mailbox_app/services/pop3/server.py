"""The POP3 service: makes sessions, keeps count of them, sweeps their deadlines and says goodbye to all of them.

One sweep task serves all sessions. When the directory changes, sessions whose account was disabled, removed or given a
new password are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from mailbox_app.config.schema import Config
from mailbox_app.events.hints import DIRECTORY_TOPIC, Subscription
from mailbox_app.net.limits import ConnectionCounter
from mailbox_app.services.pop3.commands import COMMANDS
from mailbox_app.services.pop3.dependencies import Pop3Dependencies
from mailbox_app.services.pop3.session import Session

SWEEP_SECONDS = 5.0
_CHECKS_AT_ONCE = 200
"""Of accounts after a change of the directory: some milliseconds of the loop's time."""
MAX_CONNECTIONS = 5_000
"""Sessions are short; what one keeps of a mailbox of 10,000 messages is 120 KiB."""
MAX_PER_ADDRESS = 500
"""A whole company may be behind one address; one stranger cannot take all places. Not for this machine itself."""


class Pop3Service:
    """All POP3 sessions of one process. The sweep starts with the first connection."""

    def __init__(self, dependencies: Pop3Dependencies) -> None:
        self.deps = dependencies
        self.config: Config = dependencies.config
        self.commands = {row.verb: row for row in COMMANDS}
        self._sessions: set[Session] = set()
        self._per_address = ConnectionCounter(MAX_PER_ADDRESS)
        self._sweeper: asyncio.Task[None] | None = None
        self._directory_hints: Subscription | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_again = False
        self._draining = False
        self._empty: asyncio.Future[None] | None = None
        self._active = dependencies.metrics.active_connections.labels(protocol="pop3")
        self._connections = dependencies.metrics.connections.labels(protocol="pop3")
        self._counters = {verb: dependencies.metrics.pop3_commands.labels(command=verb) for verb in self.commands}

    def factory(self, kind: Literal["pop3", "pop3s"]) -> Callable[[], asyncio.BaseProtocol]:
        """What a listener calls for each connection; the transport itself tells whether TLS is on."""
        del kind
        return lambda: Session(self)

    @property
    def connections(self) -> int:
        """Open sessions."""
        return len(self._sessions)

    def reload(self, config: Config) -> None:
        """New rules count from the next command on."""
        self.config = config

    async def drain(self, seconds: float) -> None:
        """The end for everybody: at once where nothing runs, after the running command elsewhere, cut off at the end."""
        self._draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._directory_hints is not None:
            self._directory_hints.close()
        for session in list(self._sessions):
            if not session.running and not session.closed:
                session.say_goodbye("[SYS/TEMP] Server is shutting down")
        if self._sessions:
            self._empty = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait([self._empty], timeout=seconds)
            if not done:
                for session in list(self._sessions):
                    session.abort()

    # for sessions
    @property
    def draining(self) -> bool:
        """Whether sessions should end after their command."""
        return self._draining

    def opened(self, session: Session) -> bool:
        """Take a new session on; False: there are too many."""
        self._connections.inc()
        self._sessions.add(session)
        self._active.inc()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        if self._directory_hints is None:
            self._directory_hints = self.deps.bus.subscribe(DIRECTORY_TOPIC, self._directory_changed)
        session.is_counted = not session.is_local and self._per_address.enter(session.remote_ip)
        may_stay = session.is_counted or session.is_local
        return may_stay and len(self._sessions) <= MAX_CONNECTIONS and not self._draining

    def gone(self, session: Session) -> None:
        """Forget a session."""
        if session in self._sessions:
            self._sessions.discard(session)
            self._active.dec()
            if session.is_counted:
                self._per_address.leave(session.remote_ip)
        if self._empty is not None and not self._sessions and not self._empty.done():
            self._empty.set_result(None)

    def count(self, verb: str) -> None:
        """One command more."""
        self._counters[verb].inc()

    def unexpected(self, session: Session, error: Exception) -> None:
        """Log a fault of ours with its traceback."""
        self.deps.metrics.errors.inc()
        self.deps.log.error("pop3 command failed", session=session.session_id, exc_info=error)

    async def _sweep(self) -> None:
        clock = self.deps.clock
        while True:
            await clock.sleep(SWEEP_SECONDS)
            now = clock.monotonic_seconds()
            for session in [each for each in self._sessions if each.expires_at <= now]:
                session.expire()
            for session in self._sessions:
                session.ahead.drop_older_than(now - SWEEP_SECONDS)

    def _directory_changed(self) -> None:
        self._check_again = True
        if self._checker is None or self._checker.done():
            self._checker = asyncio.get_running_loop().create_task(self._check_accounts())

    async def _check_accounts(self) -> None:
        """End the sessions whose login counts no more."""
        while self._check_again:
            self._check_again = False
            for number, session in enumerate(list(self._sessions), 1):
                if session.account is not None and not session.closed:
                    now = self.deps.account_by_id(session.account.account_id)
                    if not session.account.still_lets_in(now):
                        session.dismiss()
                if number % _CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)
