"""What a service with logins is made of: its sessions' life, and one object that counts, sweeps and ends all of them.

One sweep task serves all sessions of a service and ends those whose time is up. When the directory of accounts changes,
every session is asked whether its login still counts. What an account is, and what a goodbye looks like, the
protocol's own package says.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from prometheus_client import Counter
from structlog.typing import FilteringBoundLogger

from mailbox_app.clock import Clock
from mailbox_app.net.connection import Connection, ConnectionGone, FramerT
from mailbox_app.net.limits import Admission, ConnectionCounter
from mailbox_app.observe.metrics import Metrics

LOGIN_SECONDS = 60.0
"""From connect to a successful login."""
SWEEP_SECONDS = 5.0
_CHECKS_AT_ONCE = 200
"""Of logins after a change of the directory: some milliseconds of the loop's time."""


class Goodbye(Exception):
    """Ends the session with this text."""


@dataclass(frozen=True, slots=True)
class Goodbyes:
    """Why a session ends, in the protocol's words."""

    too_many: str
    idle: str
    login_ended: str
    shutdown: str
    fault: str


class ServedSession(Connection[FramerT]):
    """A connection that is to log in soon, may be idle then, and is told why it ends."""

    __slots__ = ("_goodbye", "_login_by", "is_counted", "service")

    goodbyes: ClassVar[Goodbyes]

    def __init__(self, framer: FramerT, service: SessionService[Any]) -> None:
        super().__init__(framer, service.clock)
        self.service = service
        self.is_counted = False
        """By the service, against the limit of its address."""
        self._login_by = math.inf
        self._goodbye = ""

    # the protocol's part
    @abstractmethod
    def greet(self) -> None:
        """The first words to a session that may stay."""

    @abstractmethod
    def say_goodbye(self, text: str) -> None:
        """The protocol's last line, and the end."""

    @abstractmethod
    def leave(self) -> None:
        """The peer is gone: let everything go that the session holds."""

    # its life
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, when there is room for one more."""
        super().connection_made(transport)
        if self.service.opened(self):
            self.begin_login()
            self.greet()
        else:
            self.say_goodbye(self.goodbyes.too_many)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        super().connection_lost(exc)
        self.leave()
        self.service.gone(self)

    async def guarded(self, work: Awaitable[None]) -> None:
        """Run a step so that no fault of ours ends more than the session."""
        try:
            await work
        except ConnectionGone:
            raise
        except Goodbye as goodbye:
            self.say_goodbye(str(goodbye))
        except Exception as error:  # noqa: BLE001 - the session's edge
            self.service.unexpected(self, error)
            self.say_goodbye(self.goodbyes.fault)

    def begin_login(self) -> None:
        """From here on there are `LOGIN_SECONDS` to log in."""
        self._login_by = self.clock.monotonic_seconds() + LOGIN_SECONDS
        self.expire_in(LOGIN_SECONDS)

    def end_login(self) -> None:
        """Logged in: the time to log in ends nothing any more."""
        self._login_by = math.inf
        self.expire_in(self.autologout_seconds)

    def expire_in(self, seconds: float) -> None:
        """The sweep ends the session after this long; nothing puts the end of the time to log in off."""
        self.expires_at = min(self.clock.monotonic_seconds() + seconds, self._login_by)

    def expire(self) -> None:
        """The time is up: a peer that does not read is cut off, another is told."""
        if self.writing_paused or self.closed:
            self.abort()
        else:
            self.say_goodbye(self.goodbyes.idle)

    def dismiss(self, text: str) -> None:
        """The end, at once or after the running command."""
        self._goodbye = text
        if not self.running:
            self.leave_when_told()

    def leave_when_told(self) -> None:
        """Between commands: the end that came up meanwhile."""
        if self._goodbye and not self.closed:
            self.say_goodbye(self._goodbye)


class Closable(Protocol):
    """A subscription."""

    def close(self) -> None:
        """No calls any more."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """How many sessions there may be in one process."""

    total: int
    per_address: int
    """A whole company may be behind one address; one stranger cannot take all places. Not for this machine itself."""


SessionT = TypeVar("SessionT", bound=ServedSession[Any])


class SessionService(ABC, Generic[SessionT]):
    """All sessions of one protocol in one process. The sweep starts with the first connection."""

    protocol: ClassVar[str]
    """Its name in metrics and logs."""

    def __init__(
        self,
        *,
        clock: Clock,
        metrics: Metrics,
        log: FilteringBoundLogger,
        places: Places,
        commands: Counter,
        verbs: Iterable[str],
        subscribe: Callable[[Callable[[], None]], Closable],
    ) -> None:
        """`subscribe`: to changes of the directory of accounts."""
        self.clock = clock
        self._metrics = metrics
        self._log = log
        self._places = places
        self._subscribe = subscribe
        self._sessions: set[SessionT] = set()
        self._per_address = ConnectionCounter(places.per_address)
        self._sweeper: asyncio.Task[None] | None = None
        self._directory_hints: Closable | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_again = False
        self._draining = False
        self._empty: asyncio.Future[None] | None = None
        self.admission: Admission | None = None
        """Who may come in at all; None: everybody. Clients of this machine are not asked."""
        self._active = metrics.active_connections.labels(protocol=self.protocol)
        self._connections = metrics.connections.labels(protocol=self.protocol)
        self._counters = {verb: commands.labels(command=verb) for verb in verbs}

    @property
    def connections(self) -> int:
        """Open sessions."""
        return len(self._sessions)

    async def drain(self, seconds: float) -> None:
        """Goodbye to everybody: at once where nothing runs, after the running command elsewhere, cut off at the end."""
        self._draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._directory_hints is not None:
            self._directory_hints.close()
        for session in list(self._sessions):
            session.dismiss(session.goodbyes.shutdown)
        if self._sessions:
            self._empty = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait([self._empty], timeout=seconds)
            if not done:
                for session in list(self._sessions):
                    session.abort()

    # for sessions
    def opened(self, session: SessionT) -> bool:
        """Take a new session on; False: there are too many."""
        self._connections.inc()
        self._sessions.add(session)
        self._active.inc()
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
        if self._directory_hints is None:
            self._directory_hints = self._subscribe(self._directory_changed)
        session.is_counted = not session.is_local and self._per_address.enter(session.remote_ip)
        may_stay = session.is_local or (session.is_counted and self._admits(session.remote_ip))
        return may_stay and len(self._sessions) <= self._places.total and not self._draining

    def _admits(self, remote_ip: str) -> bool:
        return self.admission is None or self.admission.admits(remote_ip, self.protocol)

    def gone(self, session: SessionT) -> None:
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

    def unexpected(self, session: SessionT, error: Exception) -> None:
        """Log a fault of ours with its traceback."""
        self._metrics.errors.inc()
        self._log.error(f"{self.protocol} command failed", session=session.session_id, exc_info=error)

    # for services
    @abstractmethod
    def why_not(self, session: SessionT) -> str:
        """The goodbye of a session that may not go on, now that the directory changed; empty: it may."""

    async def look_after(self, sessions: Iterable[SessionT], now: float) -> None:
        """Whatever else the protocol does at each sweep."""

    async def _sweep(self) -> None:
        while True:
            await self.clock.sleep(SWEEP_SECONDS)
            now = self.clock.monotonic_seconds()
            for session in [each for each in self._sessions if each.expires_at <= now]:
                session.expire()
            await self.look_after(self._sessions, now)

    def _directory_changed(self) -> None:
        self._check_again = True
        if self._checker is None or self._checker.done():
            self._checker = asyncio.get_running_loop().create_task(self._check_logins())

    async def _check_logins(self) -> None:
        while self._check_again:
            self._check_again = False
            for number, session in enumerate(list(self._sessions), 1):
                if not session.closed and (why := self.why_not(session)):
                    session.dismiss(why)
                if number % _CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)
