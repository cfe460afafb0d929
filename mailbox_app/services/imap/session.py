"""One IMAP session: takes commands off the wire one after the other and runs each by its row.

The dispatcher does what every command needs: state, syntax end, refusals, the tagged answer, and news of the selected
mailbox where the row allows them. Handlers parse nothing twice and write only untagged answers. Commands of one
session never overlap, so no handler needs a lock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.net.connection import ConnectionGone
from mailbox_app.net.service import Goodbye, Goodbyes
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.framing import Announced, Chunk, Complete, Event, Overlong
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.capabilities import BASE_VERBS, hidden_capabilities
from mailbox_app.services.imap.command import AnyCommand, Does, Request, State
from mailbox_app.services.imap.connection import AUTOLOGOUT_SECONDS
from mailbox_app.services.imap.following import Following
from mailbox_app.services.imap.namespaces import rights_in
from mailbox_app.services.imap.replies import Refusal, refusal

if TYPE_CHECKING:
    from mailbox_app.services.imap.server import ImapService

MAX_BAD_BEFORE_LOGIN = 5
MAX_BAD = 20
"""Syntax errors in a row: a client would have stopped, what goes on is no client."""
_TURN_EVENTS = 50
"""Thousands of small commands sent at once must not keep the loop from others."""
_TURN_PIECES = 10
"""Of compressed input, 64 KiB each when undone."""
_LITERAL_SKIP_LIMIT = 1 << 30
"""A refused non-synchronising literal larger than this is not waited for."""


class Session(Following):
    """The protocol object of one connection."""

    __slots__ = (
        "_bad_count",
        "active_at",
        "client_name",
        "hidden",
        "login_failures",
    )

    goodbyes = Goodbyes(
        too_many="[UNAVAILABLE] Try again later",
        idle="Autologout, idle for too long",
        login_ended="Your login counts no more",
        shutdown="[UNAVAILABLE] Server is shutting down",
        fault="[SERVERBUG] Internal error",
    )

    def __init__(self, service: ImapService) -> None:
        super().__init__(service)
        self.login_failures = 0
        self.client_name = ""
        """What the client said by ID."""
        self.hidden: frozenset[str] = frozenset()
        """Capabilities kept from this session, in upper case."""
        self.active_at = self.clock.monotonic_seconds()
        """When the last command began."""
        self._bad_count = 0

    # life
    def greet(self) -> None:
        """The first words. RFC 9051 7.1.1."""
        self.write(f"* OK [CAPABILITY {self.service.capabilities(self)}] IMAP ready\r\n".encode("ascii"))
        self.flush()

    def leave(self) -> None:
        """Let everything go."""
        self.unselect()
        self.stop_watching()

    @property
    def state(self) -> State:
        """Where the session stands. RFC 9051 3."""
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    def logged_in(self, account: Account) -> None:
        """From now on the session acts for this account."""
        self.account = account
        self.end_login()
        self.login_failures = 0
        self.framer.limits = self.service.limits
        self.hide_capabilities()
        self.service.logged_in(self, account.account_id)

    def logged_out(self) -> None:
        """As it was before the login. RFC 8437 2"""
        self.unselect()
        self.stop_watching()
        if self.account is not None:
            self.service.logged_out(self, self.account.account_id)
        self.account = None
        self.enabled.clear()
        self.framer.limits = self.service.login_limits
        self.begin_login()
        self.hide_capabilities()

    def hide_capabilities(self) -> None:
        """What the configuration keeps from this client or account; when either becomes known."""
        address = "" if self.account is None else self.account.address
        self.hidden = hidden_capabilities(self.service.config.imap.hide, self.client_name, address)

    def is_hidden(self, capability: str) -> bool:
        """Whether a capability is kept from this session."""
        return capability.upper() in self.hidden

    def say_goodbye(self, text: str) -> None:
        """BYE and the end. RFC 9051 7.1.5."""
        self.write(f"* BYE {text}\r\n".encode("ascii"))
        self.close()

    # the loop
    async def run(self) -> None:
        """Work through everything received; returns when more bytes or a hint are needed."""
        handled = 0
        while not self.closed:
            if self.has_news:
                await self.guarded(self._push_news())
            event = self.framer.next_event()
            if event is None and self.unpack_more():
                handled += 1
                if handled % _TURN_PIECES == 0:
                    await asyncio.sleep(0)
                continue
            if event is None:
                self.flush()
                self.resume_reading()
                if self.has_news:
                    continue
                self.leave_when_told()
                return
            await self.guarded(self._handle(event))
            handled += 1
            if handled % _TURN_EVENTS == 0:
                await asyncio.sleep(0)
            self.leave_when_told()

    async def _refresh_rights(self) -> None:
        """Something changed in another user's account whose mailbox is selected: perhaps what may be done there."""
        view, account = self.selected, self.account
        if view is None or account is None or not self._dirty or view.ref.account_id == account.account_id:
            return
        view.rights = await self.offload(rights_in, self, view.ref, view.mailbox_id)
        if "r" not in view.rights:
            raise Goodbye("The selected mailbox is no longer shared")

    async def _push_news(self) -> None:
        try:
            await self._refresh_rights()
            await self.tell_news()
        except MailboxError as error:
            if not error.temporary:
                raise Goodbye("Selected mailbox is gone") from error
            self.look_at_next_poll()
        await self.drain()

    async def _handle(self, event: Event) -> None:
        if isinstance(event, Complete):
            if self.idle_tag:
                await self._end_idle(event.data)
            else:
                await self._command(event.data)
        elif self.idle_tag:  # RFC 2177 3: nothing but DONE may come, least of all a message
            if isinstance(event, Announced):
                self.framer.refuse()
            await self._end_idle(b"")
        elif isinstance(event, Announced):
            await self._literal(event)
        elif isinstance(event, Overlong):
            self._bad(_tag_of(event.prefix), "Line too long")

    async def _literal(self, event: Announced) -> None:
        row, request = self._row_of(event.prefix)
        streams = row is not None and Does.STREAMS in row.flags and bool(self.state & row.states)
        if row is not None and request is not None and streams and not self._lacks_uid(row, request):
            start = len(request.tag) + 1 + len(request.verb) + (4 if request.uid else 0)
            try:
                arguments = row.parse(Cursor(event.prefix, start, utf8=self.utf8))
            except MailboxError:
                arguments = None  # the literal is one of its other arguments, or the syntax is wrong: told later
            if arguments is not None:
                await self._execute(row, request, arguments)
                self.framer.refuse_undecided()  # the command ended before its handler came to the literal
                return
        if not self.framer.collect():
            limit = self.service.login_limits.literal_bytes if self.account is None else _LITERAL_SKIP_LIMIT
            if not event.synchronising and event.size > limit:
                raise Goodbye("[TOOBIG] Literal too large")
            self._bad(_tag_of(event.prefix), "[TOOBIG] Literal too large")
        elif event.synchronising:
            self.write(b"+ \r\n")
            self.flush()
            self.expire_in(AUTOLOGOUT_SECONDS)

    def _row_of(self, text: bytes) -> tuple[AnyCommand | None, Request | None]:
        """The row that a command's first words name."""
        cursor = Cursor(text)
        try:
            tag = cursor.tag()
            cursor.space()
            verb = cursor.word().decode("ascii")
            uid = verb == "UID"
            if uid:
                cursor.space()
                verb = cursor.word().decode("ascii")
        except MailboxError:
            return None, None
        row = self.service.commands.get(verb)
        if row is not None and row.capability and verb not in BASE_VERBS and self.is_hidden(row.capability):
            row = None
        if row is not None and uid and Does.HAS_UID_FORM not in row.flags:
            row = None
        return row, Request(tag, verb, uid, text)

    async def _command(self, text: bytes) -> None:
        row, request = self._row_of(text)
        if request is None:
            self._bad(_tag_of(text), "Command expected")
            return
        if row is None:
            self._bad(request.tag, "Unknown command")
            return
        if not self.state & row.states:
            self._bad(request.tag, f"{row.verb} not allowed now")
            return
        if self._lacks_uid(row, request):
            self._bad(request.tag, f"[UIDREQUIRED] UID {row.verb} only")  # RFC 9586 3
            return
        start = len(request.tag) + 1 + len(request.verb) + (4 if request.uid else 0)
        cursor = Cursor(text, start, utf8=self.utf8)
        try:
            arguments = row.parse(cursor)
            cursor.end()
        except Refusal as refused:
            self._answer(request.tag, refused.line)
            return
        except MailboxError as error:
            self._bad(request.tag, response.text(error.public_text))
            return
        await self._execute(row, request, arguments)

    def _lacks_uid(self, row: AnyCommand, request: Request) -> bool:
        """Whether it would take or tell message numbers, which are out of use. RFC 9586 3"""
        takes_numbers = Does.HAS_UID_FORM in row.flags and Does.TAKES_NO_NUMBERS not in row.flags
        return self.uidonly and not request.uid and takes_numbers

    async def _execute(self, row: AnyCommand, request: Request, arguments: object) -> None:
        self._bad_count = 0
        self.active_at = self.clock.monotonic_seconds()
        self.service.count(row.verb)
        self.expire_in(AUTOLOGOUT_SECONDS)
        try:
            await self._refresh_rights()
            text = await row.handler(self, request, arguments)
            answer = f"OK {text or row.verb + ' done'}"
        except Refusal as refused:
            answer = refused.line
        except ProtocolError as error:
            self._bad(request.tag, response.text(error.public_text))
            return
        except MailboxError as error:
            answer = refusal(error).line
        except (ConnectionGone, Goodbye):
            raise
        except Exception as error:  # noqa: BLE001 - the command's edge
            self.service.unexpected(self, error)
            answer = "NO [SERVERBUG] Internal error"
        else:
            if Does.ANSWERS_ITSELF in row.flags:
                return
        await self.look_after(row, uid=request.uid)
        self._answer(request.tag, answer)
        self.expire_in(AUTOLOGOUT_SECONDS)
        await self.drain()

    # answers
    def _answer(self, tag: bytes, line: str) -> None:
        self.write(b"%b %b\r\n" % (tag, line.encode("ascii")))

    def _bad(self, tag: bytes, text: str) -> None:
        self._bad_count += 1
        self._answer(tag, f"BAD {text}")
        if self._bad_count >= (MAX_BAD_BEFORE_LOGIN if self.account is None else MAX_BAD):
            raise Goodbye("Too many bad commands")

    def continuation(self, text: str = "") -> None:
        """Ask for what the command waits for. RFC 9051 7.6."""
        self.write(f"+ {text}\r\n".encode("ascii"))
        self.flush()

    async def read_line(self) -> bytes:
        """One line inside a command (AUTHENTICATE)."""
        while True:
            event = await self.next_event()
            if isinstance(event, Complete):
                return event.data
            if isinstance(event, Announced):
                self.framer.refuse()
                raise Refusal("No literal expected", status="BAD")
            if isinstance(event, Overlong):
                raise Refusal("Line too long", status="BAD")

    async def read_chunk(self) -> Chunk:
        """The next piece of a streamed literal."""
        event = await self.next_event()
        assert isinstance(event, Chunk)
        return event

    # news of the selected mailbox
    async def look_after(self, row: AnyCommand, *, uid: bool) -> None:
        """Tell what the row allows to tell at its end."""
        if self.selected is None:
            return
        expunges = uid or Does.KEEPS_NUMBERS not in row.flags
        if self._dirty or Does.LOOKS in row.flags or (expunges and self.selected.withheld):
            await self.look_or_later(expunges=expunges, uid=uid)
        self.tell_settled()

    # IDLE
    async def _end_idle(self, text: bytes) -> None:
        tag, self.idle_tag = self.idle_tag, b""
        if text.upper() != b"DONE":
            self._bad(tag, "DONE expected")
            return
        if self._dirty:
            await self.look_or_later(expunges=True)
        self._answer(tag, "OK IDLE done")
        await self.drain()


def _tag_of(text: bytes) -> bytes:
    """The tag of a command that could not be read, or `*`."""
    cursor = Cursor(text)
    try:
        return cursor.tag()
    except MailboxError:
        return b"*"
