"""One ManageSieve session: takes commands off the wire one after the other and runs each by its row.

The dispatcher does what every command needs: framing, state, refusals, the answer. Commands of one session never overlap;
pipelined ones wait in the framer. A script beyond the limit is skipped to its end, so that what is in it is never read as
commands; a literal that the client would wait for, or one beyond all reason, ends the session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.ids import AccountRef
from mailbox_app.net.service import Goodbye, Goodbyes, ServedSession
from mailbox_app.proto.imap.framing import Announced, Complete, Framer, FramingLimits
from mailbox_app.proto.managesieve.answers import answer
from mailbox_app.proto.managesieve.grammar import parse, parse_string
from mailbox_app.services.managesieve.command import State
from mailbox_app.services.managesieve.replies import BadCommand, Refusal, refusal

if TYPE_CHECKING:
    from mailbox_app.services.managesieve.server import ManageSieveService

P = ParamSpec("P")
T = TypeVar("T")

LINE_BYTES = 12_288
"""RFC 5804 4 knows strings of 1,024 octets in a line; an authentication line may be as long as in SMTP (RFC 4954 4)."""
AUTOLOGOUT_SECONDS = 1_800.0
"""RFC 5804 asks for 30 minutes at least."""
SESSION_SECONDS = 28_800.0
"""No session starts another command after this."""
MAX_BAD_BEFORE_LOGIN = 10
MAX_BAD = 20
"""Wrong commands in a row: a client would have stopped, what goes on is no client."""
_STRANGER = FramingLimits(line_bytes=LINE_BYTES, literal_bytes=LINE_BYTES, command_bytes=2 * LINE_BYTES, literals=4)
_SKIPPED_STRANGER_BYTES = 65_536
_SKIPPED_BYTES = 16_777_216
"""The longest literal that is read to its end only to be refused."""
_TURN_COMMANDS = 50
"""Thousands of small commands sent at once must not keep the loop from others."""


class Session(ServedSession[Framer]):
    """The protocol object of one connection."""

    __slots__ = ("_bad_count", "_ends_at", "account", "login_failures")

    service: ManageSieveService
    autologout_seconds = AUTOLOGOUT_SECONDS
    goodbyes = Goodbyes(
        too_many="(TRYLATER) Too many connections, try again later",
        idle="Idle for too long",
        login_ended="Your login counts no more",
        shutdown="(TRYLATER) Server is shutting down",
        fault="(TRYLATER) Internal error",
    )

    def __init__(self, service: ManageSieveService) -> None:
        super().__init__(Framer(_STRANGER), service)
        self.account: Account | None = None
        self.login_failures = 0
        self._bad_count = 0
        self._ends_at = self.clock.monotonic_seconds() + SESSION_SECONDS

    # life
    def greet(self) -> None:
        """The capabilities. RFC 5804 1.7."""
        self.write(self.service.capabilities(self), answer("OK", "ManageSieve ready"))
        self.flush()

    def leave(self) -> None:
        """Nothing is held between commands."""

    def say_goodbye(self, text: str) -> None:
        """BYE and the end; a text may begin with a code in parentheses."""
        code = ""
        if text.startswith("("):
            code, _, text = text[1:].partition(") ")
        self.write(answer("BYE", text, code))
        self.close()

    @property
    def state(self) -> State:
        """Where the session stands."""
        return State.STRANGER if self.account is None else State.LOGGED_IN

    @property
    def may_log_in(self) -> bool:
        """Whether credentials may be said here."""
        return self.is_tls or not self.service.config.tls.require_tls

    @property
    def ref(self) -> AccountRef:
        """The account of a command that runs only when somebody is logged in."""
        assert self.account is not None
        return self.account.ref

    def entered(self, account: Account) -> None:
        """From here on the session acts for this account."""
        self.account = account
        self.end_login()
        self.login_failures = 0

    def left_account(self) -> None:
        """The connection stays, the login goes. RFC 5804 2.14.1."""
        self.account = None
        self.begin_login()

    # for handlers
    async def offload(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call in a thread, with no more than the account's share of threads."""
        key = None if self.account is None else self.account.account_id
        return await self.service.deps.offload.run_for(key, function, *args, **kwargs)

    async def read_string(self) -> bytes:
        """What the client says within a command, waiting for it within the read deadline."""
        while True:
            event = self.framer.next_event()
            match event:
                case None:
                    await self.wait_for_more()
                case Complete(data):
                    return parse_string(data)
                case Announced():
                    self._take_literal(event)
                case _:
                    raise BadCommand("Line too long")

    # the loop
    async def run(self) -> None:
        """Work through everything received; returns when more bytes are needed."""
        handled = 0
        while not self.closed:
            event = self.framer.next_event()
            if event is None:
                self.flush()
                self.resume_reading()
                self.leave_when_told()
                return
            self.expire_in(AUTOLOGOUT_SECONDS)
            await self.guarded(self._answered(event))
            handled += 1
            if handled % _TURN_COMMANDS == 0:
                await asyncio.sleep(0)
            self.leave_when_told()

    async def _answered(self, event: object) -> None:
        await self._handle(event)
        if not self.closed:
            await self.drain()

    async def _handle(self, event: object) -> None:
        try:
            if isinstance(event, Announced):
                self._take_literal(event)
                return
            text = await self._obey(event)
        except BadCommand as refused:
            self._bad(refused)
        except Refusal as refused:
            self._bad_count = 0
            self._no(refused)
        except ProtocolError as error:
            self._bad(refusal(error))
        except MailboxError as error:
            if error.temporary:
                self.service.deps.log.warning("refused", session=self.session_id, code=error.code, **error.fields)
            self._no(refusal(error))
        else:
            self._bad_count = 0
            if text is not None:
                self.write(answer("OK", text))

    def _take_literal(self, announced: Announced) -> None:
        """Let a literal come in, or skip it and refuse the command. RFC 5804 1.2."""
        if announced.synchronising or announced.binary:
            raise Goodbye("Literals are announced as {length+} here")
        self.framer.limits = self._limits()
        if announced.size > (_SKIPPED_STRANGER_BYTES if self.account is None else _SKIPPED_BYTES):
            raise Goodbye("(QUOTA/MAXSIZE) This is far too large" if self.account else "This is far too large")
        if not self.framer.collect():
            raise Refusal(f"This is too large, {self.framer.limits.literal_bytes} bytes are allowed", "QUOTA/MAXSIZE")

    def _limits(self) -> FramingLimits:
        """Strangers have little to say."""
        if self.account is None:
            return _STRANGER
        script_bytes = max(self.service.deps.scripts.limits.max_script_bytes, LINE_BYTES)
        return FramingLimits(
            line_bytes=LINE_BYTES, literal_bytes=script_bytes, command_bytes=script_bytes + 2 * LINE_BYTES, literals=4
        )

    async def _obey(self, event: object) -> str | None:
        if not isinstance(event, Complete):
            raise BadCommand("Line too long")
        request = parse(event.data)
        row = self.service.commands.get(request.verb)
        if row is None:
            raise BadCommand("Unknown command")
        if not self.state & row.states:
            raise BadCommand("Log in first" if self.account is None else f"{row.verb} is not allowed now")
        if self.clock.monotonic_seconds() > self._ends_at:
            raise Goodbye("This session has lasted too long")
        self.service.count(row.verb)
        return await row.handler(self, request)

    def _no(self, refused: Refusal) -> None:
        self.write(answer("NO", refused.text, refused.code))

    def _bad(self, refused: Refusal) -> None:
        self._bad_count += 1
        self._no(refused)
        if self._bad_count >= (MAX_BAD_BEFORE_LOGIN if self.account is None else MAX_BAD):
            raise Goodbye("Too many bad commands")
