"""The IMAP service: makes sessions and adds to `net/service` what only IMAP has: counts per account and polls.

Every `POLL_SECONDS` the sweep compares the stamps of the mailboxes that idling sessions watch, in case a hint was lost: a
few file stats each, in a thread and a few at a time; only a session whose mailbox has another stamp looks at the store.
When the directory changes, sessions whose account was disabled, removed or given a new password are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Literal

from mailbox_app.config.schema import Config
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.net.service import Places, SessionService
from mailbox_app.proto.imap.framing import FramingLimits
from mailbox_app.services.imap.capabilities import capability_text
from mailbox_app.services.imap.commands import COMMANDS
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.preauth import PreauthSession
from mailbox_app.services.imap.session import Session
from mailbox_app.services.imap.sharing import Sharing
from mailbox_app.store.appender import Appender

POLL_SECONDS = 30.0
_POLLS_AT_ONCE = 200
"""Some milliseconds of a thread's time."""
MAX_CONNECTIONS = 20_000
"""At 40 KiB each this is what a front may take of a small machine's memory."""
MAX_PER_ADDRESS = 1_000


class ImapService(SessionService[Session]):
    """All IMAP sessions of one process."""

    protocol = "imap"

    def __init__(self, dependencies: ImapDependencies) -> None:
        super().__init__(
            clock=dependencies.clock,
            metrics=dependencies.metrics,
            log=dependencies.log,
            places=Places(MAX_CONNECTIONS, MAX_PER_ADDRESS),
            commands=dependencies.metrics.imap_commands,
            verbs=[row.verb for row in COMMANDS],
            subscribe=partial(dependencies.bus.subscribe, DIRECTORY_TOPIC),
        )
        self.deps = dependencies
        self.config: Config = dependencies.config
        self.limits = FramingLimits()
        # RFC 4954 4: an authentication line may have 12,288 octets; a stranger gets no more memory than that takes.
        self.login_limits = FramingLimits(line_bytes=16_384, literal_bytes=4_096, command_bytes=16_384, literals=4)
        self.commands = {row.verb: row for row in COMMANDS}
        self.sharing = Sharing()
        self.appender = Appender(dependencies.store, dependencies.offload)
        self._per_account: dict[AccountId, set[Session]] = {}
        self._polled_at = dependencies.clock.monotonic_seconds()

    def factory(self, kind: Literal["imap", "imaps", "preauth"]) -> Callable[[], asyncio.BaseProtocol]:
        """What a listener calls for each connection; the transport itself tells whether TLS is on."""
        if kind == "preauth":
            return lambda: PreauthSession(self)
        return lambda: Session(self)

    def reload(self, config: Config) -> None:
        """New limits and rules count from the next command on."""
        self.config = config

    # for sessions
    def gone(self, session: Session) -> None:
        """Forget a session."""
        if session.account is not None:
            self.logged_out(session, session.account.account_id)
        super().gone(session)

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

    def capabilities(self, session: Session) -> str:
        """What works for this session now."""
        return capability_text(COMMANDS, session, require_tls=self.config.tls.require_tls)

    # for the sweep
    async def look_after(self, sessions: Iterable[Session], now: float) -> None:
        """Every `POLL_SECONDS` look for news whose hint was lost."""
        if now - self._polled_at >= POLL_SECONDS:
            self._polled_at = now
            await self._poll([each for each in sessions if each.pushes])

    def why_not(self, session: Session) -> str:
        """Sessions end whose login counts no more, or whose selected mailbox is a removed account's."""
        if session.account is None:
            return ""
        if not session.account.still_lets_in(self.deps.account_by_id(session.account.account_id)):
            return session.goodbyes.login_ended
        # Opening the store of a removed account would begin it anew.
        if session.selected is not None and self.deps.account_by_id(session.selected.ref.account_id) is None:
            return "The selected mailbox is gone"
        return ""

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
