"""The ManageSieve service: makes sessions and tells `net/service` what is particular to this protocol.

When the directory changes, sessions whose account was disabled, removed or given a new password are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Literal

from mailbox_app.config.schema import Config
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.net.service import Places, SessionService
from mailbox_app.proto.managesieve.answers import string
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.registry import CAPABILITIES
from mailbox_app.proto.sieve.script import compile_script
from mailbox_app.services.managesieve.commands import COMMANDS
from mailbox_app.services.managesieve.dependencies import ManageSieveDependencies
from mailbox_app.services.managesieve.session import Session
from mailbox_app.store.scripts import ScriptLimits

MAX_CONNECTIONS = 1_000
"""Sessions are rare and short."""
MAX_PER_ADDRESS = 50


class ManageSieveService(SessionService[Session]):
    """All ManageSieve sessions of one process."""

    protocol = "managesieve"

    def __init__(self, dependencies: ManageSieveDependencies) -> None:
        super().__init__(
            clock=dependencies.clock,
            metrics=dependencies.metrics,
            log=dependencies.log,
            places=Places(MAX_CONNECTIONS, MAX_PER_ADDRESS),
            commands=dependencies.metrics.managesieve_commands,
            verbs=[row.verb for row in COMMANDS],
            subscribe=partial(dependencies.bus.subscribe, DIRECTORY_TOPIC),
        )
        self.deps = dependencies
        self.commands = {row.verb: row for row in COMMANDS}
        self.implementation = f"Mailbox {version('mailbox')}"
        self.reload(dependencies.config)

    def factory(self, kind: Literal["managesieve"]) -> Callable[[], asyncio.BaseProtocol]:
        """What a listener calls for each connection."""
        del kind
        return lambda: Session(self)

    def capabilities(self, session: Session) -> bytes:
        """The lines that tell what a session can do where it stands. RFC 5804 1.7."""
        deps = self.deps
        rows = [
            ("IMPLEMENTATION", self.implementation),
            ("SIEVE", " ".join(CAPABILITIES)),
            ("SASL", " ".join(deps.sasl.mechanisms(session.channel, self.protocol))),
            ("NOTIFY", "mailto"),
            ("MAXREDIRECTS", str(self.rules.redirects)),
            ("LANGUAGE", "en"),
            ("UNAUTHENTICATE", None),
            ("VERSION", "1.0"),
        ]
        if session.account is not None:
            rows.append(("OWNER", session.account.address))
        elif not session.is_tls:
            rows.append(("STARTTLS", None))
        lines = [string(name) if value is None else string(name) + b" " + string(value) for name, value in rows]
        return b"\r\n".join(lines) + b"\r\n"

    def reload(self, config: Config) -> None:
        """New rules count from the next command on."""
        self.config = config
        sieve = config.sieve
        self.rules = Limits(script_bytes=sieve.max_script_bytes, redirects=sieve.max_redirects)
        self.deps.scripts.limits = ScriptLimits(sieve.max_script_bytes, sieve.max_scripts)

    def check(self, source: bytes) -> Sequence[str]:
        """Read a script as it is read for mail: warnings, or `SieveError` with every problem. In a thread."""
        return [str(warning) for warning in compile_script(source, self.rules).warnings]

    def why_not(self, session: Session) -> str:
        """Sessions end whose login counts no more."""
        account = session.account
        if account is None or account.still_lets_in(self.deps.account_by_id(account.account_id)):
            return ""
        return session.goodbyes.login_ended
