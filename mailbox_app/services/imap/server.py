"""The IMAP service: makes sessions, keeps count of them, sweeps their deadlines and says goodbye to all of them.

One sweep task serves all sessions: it ends those whose time is up and, every `POLL_SECONDS`, compares the stamps of the
mailboxes that idling ones watch, in case a hint was lost: a few file stats each, in a thread and a few at a time; only a
session whose mailbox has another stamp looks at the store. When the directory changes, sessions
whose account was disabled, removed or given a new password are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal

from mailbox_app.config.schema import Config
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import DIRECTORY_TOPIC, Subscription
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.net.limits import ConnectionCounter
from mailbox_app.proto.imap.framing import FramingLimits
from mailbox_app.services.imap.capabilities import capability_text
from mailbox_app.services.imap.commands import COMMANDS
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.preauth import PreauthSession
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.sharing import Sharing
from mailbox_app.store.appender import Appender

SWEEP_SECONDS = 5.0
POLL_SECONDS = 30.0
_POLLS_AT_ONCE = 200
"""Some milliseconds of a thread's time."""
_CHECKS_AT_ONCE = 200
"""Of accounts after a change of the directory: some milliseconds of the loop's time."""
MAX_CONNECTIONS = 20_000
"""At 40 KiB each this is what a front may take of a small machine's memory."""
MAX_PER_ADDRESS = 1_000
"""A whole company may be behind one address; one stranger cannot take all places. Not for this machine itself."""


class ImapService:
    """All IMAP sessions of one process. The sweep starts with the first connection."""

    def __init__(self, dependencies: ImapDependencies) -> None:
        self.deps = dependencies
        self.config: Config = dependencies.config
        self.limits = FramingLimits()
        # RFC 4954 4: an authentication line may have 12,288 octets; a stranger gets no more memory than that takes.
        self.login_limits = FramingLimits(line_bytes=16_384, literal_bytes=4_096, command_bytes=16_384, literals=4)
        self.commands = {row.verb: row for row in COMMANDS}
        self.sharing = Sharing()
        self.appender = Appender(dependencies.store, dependencies.offload)
        self._sessions: set[Session] = set()
        self._per_account: dict[AccountId, set[Session]] = {}
        self._per_address = ConnectionCounter(MAX_PER_ADDRESS)
        self._sweeper: asyncio.Task[None] | None = None
        self._directory_hints: Subscription | None = None
        self._checker: asyncio.Task[None] | None = None
        self._check_again = False
        self._draining = False
        self._empty: asyncio.Future[None] | None = None
        self._active = dependencies.metrics.active_connections.labels(protocol="imap")
        self._connections = dependencies.metrics.connections.labels(protocol="imap")
        self._counters = {verb: dependencies.metrics.imap_commands.labels(command=verb) for verb in self.commands}

    def factory(self, kind: Literal["imap", "imaps", "preauth"]) -> Callable[[], asyncio.BaseProtocol]:
        """What a listener calls for each connection; the transport itself tells whether TLS is on."""
        if kind == "preauth":
            return lambda: PreauthSession(self)
        return lambda: Session(self)

    @property
    def connections(self) -> int:
        """Open sessions."""
        return len(self._sessions)

    def reload(self, config: Config) -> None:
        """New limits and rules count from the next command on."""
        self.config = config

    async def drain(self, seconds: float) -> None:
        """BYE to everybody: at once where nothing runs, after the running command elsewhere, cut off at the end."""
        self._draining = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._directory_hints is not None:
            self._directory_hints.close()
        for session in list(self._sessions):
            if not session.running:
                session.say_goodbye("[UNAVAILABLE] Server is shutting down")
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
            if session.account is not None:
                self.logged_out(session, session.account.account_id)
            if session.is_counted:
                self._per_address.leave(session.remote_ip)
        if self._empty is not None and not self._sessions and not self._empty.done():
            self._empty.set_result(None)

    def logged_in(self, session: Session, account_id: AccountId) -> None:
        """Count the session for its account; one too many ends the one that was idle for the longest time."""
        mine = self._per_account.setdefault(account_id, set())
        mine.add(session)
        if len(mine) > self.config.imap.max_sessions_per_account:
            others = [each for each in mine if each is not session and not each.closed]
            waiting = [each for each in others if not each.running] or others
            if waiting:
                idlest = min(waiting, key=lambda each: each.active_at)
                idlest.dismiss("[UNAVAILABLE] Too many sessions of this account, the idlest is ended")
                mine.discard(idlest)

    def logged_out(self, session: Session, account_id: AccountId) -> None:
        """The session is no longer its account's."""
        mine = self._per_account.get(account_id)
        if mine is not None:
            mine.discard(session)
            if not mine:
                del self._per_account[account_id]

    def count(self, verb: str) -> None:
        """One command more."""
        self._counters[verb].inc()

    def capabilities(self, session: Session) -> str:
        """What works for this session now."""
        return capability_text(COMMANDS, session, require_tls=self.config.tls.require_tls)

    def unexpected(self, session: Session, error: Exception) -> None:
        """Log a fault of ours with its traceback."""
        self.deps.metrics.errors.inc()
        self.deps.log.error("imap command failed", session=session.session_id, exc_info=error)

    async def _sweep(self) -> None:
        clock = self.deps.clock
        polled_at = clock.monotonic_seconds()
        while True:
            await clock.sleep(SWEEP_SECONDS)
            now = clock.monotonic_seconds()
            for session in [each for each in self._sessions if each.expires_at <= now]:
                session.expire()
            if now - polled_at >= POLL_SECONDS:
                polled_at = now
                await self._poll([each for each in self._sessions if each.pushes])

    def _directory_changed(self) -> None:
        self._check_again = True
        if self._checker is None or self._checker.done():
            self._checker = asyncio.get_running_loop().create_task(self._check_accounts())

    async def _check_accounts(self) -> None:
        """End the sessions whose login counts no more, or whose selected mailbox is a removed account's."""
        while self._check_again:
            self._check_again = False
            for number, session in enumerate(list(self._sessions), 1):
                if session.account is not None and not session.closed:
                    now = self.deps.account_by_id(session.account.account_id)
                    if not session.account.still_lets_in(now):
                        session.dismiss()
                    elif session.selected is not None and not self._is_there(session.selected.ref):
                        session.dismiss("The selected mailbox is gone")
                if number % _CHECKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _is_there(self, ref: AccountRef) -> bool:
        """Opening the store of a removed account would begin it anew."""
        return self.deps.account_by_id(ref.account_id) is not None

    async def _poll(self, idling: Sequence[Session]) -> None:
        for start in range(0, len(idling), _POLLS_AT_ONCE):
            watched = {
                session: place for session in idling[start : start + _POLLS_AT_ONCE] if (place := session.watched())
            }
            places = set(watched.values())
            try:
                stamps = await self.deps.offload.run(self._stamps, places)
            except (MailboxError, OSError) as error:
                self.deps.log.warning("no stamps of mailboxes", exc_info=error)
                continue
            for session, place in watched.items():
                if session.watched() == place:
                    session.poll(stamps[place])
            await self.deps.clock.sleep(0.1)

    def _stamps(self, places: Iterable[tuple[AccountRef, str]]) -> dict[tuple[AccountRef, str], Hashable]:
        return {(ref, watch): self.deps.store.account(ref).stamp(watch) for ref, watch in places}
