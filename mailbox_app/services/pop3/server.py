"""The POP3 service: makes sessions and tells `net/service` what is particular to POP3.

When the directory changes, sessions whose account was disabled, removed or given a new password are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

from mailbox_app.config.schema import Config
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.net.service import SWEEP_SECONDS, Places, SessionService
from mailbox_app.services.pop3.commands import COMMANDS
from mailbox_app.services.pop3.dependencies import Pop3Dependencies
from mailbox_app.services.pop3.session import Session

MAX_CONNECTIONS = 5_000
"""Sessions are short; what one keeps of a mailbox of 10,000 messages is 120 KiB."""
MAX_PER_ADDRESS = 500


class Pop3Service(SessionService[Session]):
    """All POP3 sessions of one process."""

    protocol = "pop3"

    def __init__(self, dependencies: Pop3Dependencies) -> None:
        super().__init__(
            clock=dependencies.clock,
            metrics=dependencies.metrics,
            log=dependencies.log,
            places=Places(MAX_CONNECTIONS, MAX_PER_ADDRESS),
            commands=dependencies.metrics.pop3_commands,
            verbs=[row.verb for row in COMMANDS],
            subscribe=partial(dependencies.bus.subscribe, DIRECTORY_TOPIC),
        )
        self.deps = dependencies
        self.config: Config = dependencies.config
        self.commands = {row.verb: row for row in COMMANDS}

    def factory(self, kind: Literal["pop3", "pop3s"]) -> Callable[[], asyncio.BaseProtocol]:
        """What a listener calls for each connection; the transport itself tells whether TLS is on."""
        del kind
        return lambda: Session(self)

    def reload(self, config: Config) -> None:
        """New rules count from the next command on."""
        self.config = config

    async def look_after(self, sessions: Iterable[Session], now: float) -> None:
        """An idle session keeps nothing that was made ready."""
        for session in sessions:
            session.ahead.drop_older_than(now - SWEEP_SECONDS)

    def why_not(self, session: Session) -> str:
        """Sessions end whose login counts no more."""
        account = session.account
        if account is None or account.still_lets_in(self.deps.account_by_id(account.account_id)):
            return ""
        return session.goodbyes.login_ended
