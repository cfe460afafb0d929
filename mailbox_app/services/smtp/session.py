"""One SMTP session: its state, and the loop from a command's line to its reply.

Errors become replies here and nowhere else: a `Refusal` brings its own, local trouble is 451, and an unexpected exception is
logged and counted and tells the peer nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Literal

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError
from mailbox_app.ids import new_session_id
from mailbox_app.mailauth.results import IprevResult, SpfResult
from mailbox_app.policy.facts import Facts
from mailbox_app.policy.verdict import Finding
from mailbox_app.proto.smtp.commands import split_command
from mailbox_app.proto.smtp.replies import Refusal, Reply, reply_for
from mailbox_app.services.smtp import local_peer
from mailbox_app.services.smtp.connection import SmtpConnection
from mailbox_app.services.smtp.local_peer import LocalPeer
from mailbox_app.services.smtp.lookups import Lookup
from mailbox_app.services.smtp.transaction import Transaction
from mailbox_app.services.smtp.verbs import VERBS

if TYPE_CHECKING:
    from mailbox_app.services.smtp.server import SmtpService

ServiceKind = Literal["smtp", "submission", "submissions", "lmtp", "local"]
"""`local`: programs of this machine, on a Unix socket."""

_OTHER_PROTOCOLS = frozenset({b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"HEAD"})
"""What a browser says that somebody made talk to us: what follows must not be read as commands."""
_TURN_COMMANDS = 20
"""Thousands of commands sent at once must not keep the loop from others."""
_BAD_LINE = "Lines end with CR LF and hold no bare CR, bare LF or NUL"


class SmtpSession(SmtpConnection):
    """Handlers of commands (see `verbs`) get the session and read and change its public attributes."""

    def __init__(self, service: SmtpService, kind: ServiceKind) -> None:
        super().__init__(service.loop, service.clock, service.limits)
        self.service = service
        self.kind: ServiceKind = kind
        self.session_id = new_session_id()
        self.helo = ""
        self.is_extended = False
        self.account: Account | None = None
        self.local_peer: LocalPeer | None = None
        self.transaction = Transaction()
        self.error_count = 0
        self.failed_logins = 0
        self.message_count = 0
        self.idle_command_count = 0
        self.answers_due = 1
        """To the command that runs; LMTP has one for each recipient of a content."""
        self.facts = Facts(self.session_id, "", kind)
        self.spf: Lookup[SpfResult] | None = None
        self.iprev: Lookup[IprevResult] | None = None
        self.connect_findings: tuple[Finding, ...] = ()
        """They hold for every message of the session."""

    @property
    def serves_strangers(self) -> bool:
        """Whether anybody may bring mail here."""
        return self.kind == "smtp"

    @property
    def needs_login(self) -> bool:
        """Whether only our users may bring mail here."""
        return self.kind in ("submission", "submissions")

    @property
    def is_idle(self) -> bool:
        """Waits for a command, outside any transaction."""
        return self.is_waiting and self.transaction.sender is None

    async def converse(self) -> None:
        """From the greeting to the last reply."""
        self.facts.remote_ip = self.remote_ip
        refusal = self.service.enter(self)
        if refusal is not None:
            self.reply(refusal)
            return
        try:
            await self._greet()
            handled = 0
            while not self.ending:
                handled += 1
                if handled % _TURN_COMMANDS == 0:
                    await asyncio.sleep(0)
                if self.service.draining and self.transaction.sender is None:
                    self.end(Reply(421, "4.3.2", "Shutting down, try again later"))
                else:
                    await self._obey()
        except (ConnectionError, ssl.SSLError, TimeoutError) as error:
            structlog.get_logger("smtp").debug("connection_lost", session_id=self.session_id, error=str(error))
        except asyncio.CancelledError:
            # A thread may still read the content: it is freed when that thread lets go of it, not closed under it.
            self.transaction = Transaction()
            raise
        finally:
            self.service.leave(self)
            self.transaction.close()
            self.end_lookups(with_name=True)

    async def _greet(self) -> None:
        """The greeting, or why there is none."""
        self.facts.connected_at = self.clock.now()
        try:
            if self.kind == "local":
                await local_peer.welcome(self)
            await self.service.screening.connect(self)
        except MailboxError as error:
            self.end(self._refused(error))
        else:
            self.reply(self.service.lmtp_greeting if self.kind == "lmtp" else self.service.greeting)

    async def _obey(self) -> None:
        """One command, from its line to its reply."""
        reply: Reply | bytes | None
        try:
            line = await self.next_line()
            if line is None:
                self.ending = True
                return
            reply = await self._run(line)
        except MailboxError as error:
            reply = self._refused(error)
        except (ConnectionError, ssl.SSLError):
            raise
        except Exception as error:  # noqa: BLE001 - the session's edge: our own bug is 451 for the peer
            reply = self._failed(error)
        if self.transaction.is_over:
            self.forget_transaction()
        due, self.answers_due = self.answers_due, 1
        if reply is None:
            return
        is_error = not isinstance(reply, bytes) and reply.code >= 500
        if is_error:
            self.error_count += 1
            if not self.ending:
                await self.service.screening.slow_down(self)
        for _ in range(due):
            self.reply(reply)
        if isinstance(reply, bytes):
            return
        if reply.code == 421:
            self.ending = True
        elif is_error and self.error_count >= self.limits.errors and not self.ending:
            self.end(Reply(421, "4.7.0", "Too many errors"))

    async def _run(self, line: bytes) -> Reply | bytes | None:
        if not line.endswith(b"\r") or line.find(b"\r") != len(line) - 1 or b"\0" in line:
            raise Refusal(500, "5.5.2", _BAD_LINE, reason="bad_line_ending")
        verb, argument = split_command(line[:-1])
        row = VERBS.get(verb)
        if row is None:
            if verb in _OTHER_PROTOCOLS:
                return Reply(421, "4.7.0", "This is a mail server")
            raise Refusal(500, "5.5.1", "Command not recognized", reason="syntax")
        if len(line) > row.limit_bytes:
            raise Refusal(500, "5.5.2", "Command line too long", reason="syntax")
        if row.needs_hello and not self.helo:
            raise Refusal(503, "5.5.1", "Say EHLO first", reason="sequence")
        self.idle_command_count += row.is_counted
        if self.idle_command_count > self.limits.idle_commands:
            return Reply(421, "4.7.0", "Too many commands without a message")
        if self.clock.monotonic_seconds() - self.started_at > self.limits.session_seconds:
            return Reply(421, "4.4.2", "This session has lasted too long")
        return await row.handler(self, argument)

    def _refused(self, error: MailboxError) -> Reply:
        reply = reply_for(error)
        self.service.note_refusal(self, error, reply)
        return reply

    def _failed(self, error: Exception) -> Reply:
        """Our own trouble: logged and counted, a general 451 for the peer; 421 where the stream is out of step."""
        self.service.metrics.errors.inc()
        structlog.get_logger("smtp").error("session_failed", session_id=self.session_id, exc_info=error)
        if self.transaction.in_content:
            return Reply(421, "4.3.0", "Local trouble, try again later")
        return Reply(451, "4.3.0", "Local trouble, try again later")

    def end_lookups(self, *, with_name: bool = False) -> None:
        """The sender's, at the next one; the client's name with the session."""
        if self.spf is not None:
            self.spf.close()
            self.spf = None
        if with_name and self.iprev is not None:
            self.iprev.close()

    def forget_transaction(self) -> None:
        """As RSET does."""
        self.transaction.close()
        self.transaction = Transaction()
        facts = self.facts
        if facts.sender or facts.recipients or facts.message is not None:
            facts.sender = ""
            facts.spf = None
            facts.recipients = []
            facts.message = None
        facts.findings = list(self.connect_findings)
        self.end_lookups()

    def forget_all(self) -> None:
        """Everything but the connection. RFC 3207 4.2."""
        self.forget_transaction()
        self.helo = ""
        self.is_extended = False
        self.account = None
