"""One POP3 session: takes lines off the wire one after the other and runs each by its row.

The dispatcher does what every command needs: state, argument or none, refusals, the answer. Commands of one session
never overlap, so no handler needs a lock; pipelined ones wait in the framer (RFC 2449 6.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.net.service import Goodbye, Goodbyes, ServedSession
from mailbox_app.proto.pop3.command_line import parse
from mailbox_app.proto.pop3.framing import LineFramer, Overlong
from mailbox_app.services.pop3.command import State, Takes
from mailbox_app.services.pop3.maildrop import Maildrop
from mailbox_app.services.pop3.read_ahead import ReadAhead
from mailbox_app.services.pop3.replies import BadCommand, Refusal, refusal
from mailbox_app.store import interface

if TYPE_CHECKING:
    from mailbox_app.services.pop3.server import Pop3Service

P = ParamSpec("P")
T = TypeVar("T")

LINE_BYTES = 12_288
"""RFC 2449 4 knows no more than 255; an authentication line may be as long as in SMTP (RFC 4954 4)."""
AUTOLOGOUT_SECONDS = 600.0
"""RFC 1939 3: at least 10 minutes."""
MAX_BAD_BEFORE_LOGIN = 10
MAX_BAD = 20
"""Wrong commands in a row: a client would have stopped, what goes on is no client."""
_TURN_LINES = 50
"""Thousands of small commands sent at once must not keep the loop from others."""


class Session(ServedSession[LineFramer]):
    """The protocol object of one connection."""

    __slots__ = (
        "_bad_count",
        "account",
        "ahead",
        "login_failures",
        "maildrop",
        "user_name",
    )

    service: Pop3Service
    autologout_seconds = AUTOLOGOUT_SECONDS
    goodbyes = Goodbyes(
        too_many="[SYS/TEMP] Try again later",
        idle="[SYS/TEMP] Autologout, idle for too long",
        login_ended="[AUTH] Your login counts no more",
        shutdown="[SYS/TEMP] Server is shutting down",
        fault="[SYS/TEMP] Internal error",
    )

    def __init__(self, service: Pop3Service) -> None:
        super().__init__(LineFramer(LINE_BYTES), service)
        self.account: Account | None = None
        self.maildrop: Maildrop | None = None
        self.ahead = ReadAhead()
        self.user_name = b""
        """What USER said."""
        self.login_failures = 0
        self._bad_count = 0

    # life
    def greet(self) -> None:
        """No timestamp: APOP would need passwords that we do not keep."""
        self.write(b"+OK POP3 ready\r\n")
        self.flush()

    def leave(self) -> None:
        """RFC 1939 3: without QUIT nothing is removed."""
        self.leave_maildrop()

    @property
    def state(self) -> State:
        """Where the session stands."""
        return State.AUTHORIZATION if self.maildrop is None else State.TRANSACTION

    @property
    def may_log_in(self) -> bool:
        """Whether credentials may be said here."""
        return self.is_tls or not self.service.config.tls.require_tls

    @property
    def drop(self) -> Maildrop:
        """The maildrop of a command that runs in the TRANSACTION state only."""
        assert self.maildrop is not None
        return self.maildrop

    def entered(self, account: Account, drop: Maildrop) -> None:
        """From here on the session acts for this account."""
        self.account = account
        self.end_login()
        self.maildrop = drop
        self.login_failures = 0
        if self.closed:  # the peer left while its maildrop was being opened
            self.leave_maildrop()

    def leave_maildrop(self) -> None:
        """Let the account's next session in."""
        if self.maildrop is not None:
            self.maildrop.release()

    def say_goodbye(self, text: str) -> None:
        """An error and the end."""
        self.write(f"-ERR {text}\r\n".encode("ascii"))
        self.close()

    # for handlers
    async def offload(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call in a thread. An account whose mailboxes are locked keeps no more than its share of them waiting."""
        key = None if self.account is None else self.account.account_id
        return await self.service.deps.offload.run_for(key, function, *args, **kwargs)

    def mail(self) -> interface.Account:
        """The account's store: blocking, call it in an offloaded function."""
        assert self.account is not None
        return self.service.deps.store.account(self.account.ref)

    def warn(self, event: str, error: MailboxError) -> None:
        """Local trouble, for the log."""
        self.service.deps.log.warning(event, session=self.session_id, code=error.code, **error.fields)

    async def read_line(self) -> bytes | Overlong:
        """The next line inside a command, waiting for the peer within the read deadline."""
        while (line := self.framer.next_line()) is None:
            await self.wait_for_more()
        return line

    # the loop
    async def run(self) -> None:
        """Work through everything received; returns when more bytes are needed."""
        handled = 0
        while not self.closed:
            line = self.framer.next_line()
            if line is None:
                self.flush()
                self.resume_reading()
                self.leave_when_told()
                return
            self.expire_in(AUTOLOGOUT_SECONDS)
            await self.guarded(self._answered(line))
            handled += 1
            if handled % _TURN_LINES == 0:
                await asyncio.sleep(0)
            self.leave_when_told()

    async def _answered(self, line: bytes | Overlong) -> None:
        await self._command(line)
        if not self.closed:
            await self.drain()

    async def _command(self, line: bytes | Overlong) -> None:
        try:
            text = await self._answer(line)
        except BadCommand as refused:
            self._bad(refused.text)
        except Refusal as refused:
            self._bad_count = 0
            self._error(refused.text)
        except ProtocolError as error:
            self._bad(refusal(error).text)
        except MailboxError as error:
            self.warn("refused", error)
            self._error(refusal(error).text)
        else:
            self._bad_count = 0
            if text is not None:
                self.write(f"+OK {text}\r\n".encode("ascii"))

    async def _answer(self, line: bytes | Overlong) -> str | None:
        if isinstance(line, Overlong):
            raise BadCommand("Line too long")
        command = parse(line)
        row = self.service.commands.get(command.verb)
        if row is None:
            raise BadCommand("Unknown command")
        if not self.state & row.states:
            raise BadCommand(f"{row.verb} not allowed now")
        if command.has_argument and row.takes is Takes.NOTHING:
            raise BadCommand(f"{row.verb} takes nothing")
        if not command.has_argument and row.takes is Takes.SOMETHING:
            raise BadCommand(f"{row.verb} needs an argument")
        self.service.count(row.verb)
        return await row.handler(self, command.argument)

    def _error(self, text: str) -> None:
        self.write(f"-ERR {text}\r\n".encode("ascii"))

    def _bad(self, text: str) -> None:
        self._bad_count += 1
        self._error(text)
        if self._bad_count >= (MAX_BAD_BEFORE_LOGIN if self.account is None else MAX_BAD):
            raise Goodbye("Too many bad commands")
