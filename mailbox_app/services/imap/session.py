"""One IMAP session: takes commands off the wire one after the other and runs each by its row.

The dispatcher does what every command needs: state, syntax end, refusals, the tagged answer, and news of the selected
mailbox where the row allows them. Handlers parse nothing twice and write only untagged answers. Commands of one
session never overlap, so no handler needs a lock.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.events.hints import Subscription, account_topic
from mailbox_app.ids import AccountId, Uid
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.framing import Announced, Chunk, Complete, Event, Overlong
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.command import AnyCommand, Does, Request, State
from mailbox_app.services.imap.connection import AUTOLOGOUT_SECONDS, LOGIN_SECONDS, Connection, ConnectionGone
from mailbox_app.services.imap.message_set import has_star, positions_of_numbers, positions_of_uids, uid_bounds
from mailbox_app.services.imap.replies import Goodbye, Refusal, refusal
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store import interface
from mailbox_app.store.model import Changes

if TYPE_CHECKING:
    from mailbox_app.services.imap.server import ImapService

P = ParamSpec("P")
T = TypeVar("T")

MAX_BAD_BEFORE_LOGIN = 5
_MANY = 500
"""Changes that are worked through in a thread: less is done sooner than handed over."""
_BLOCKS_A_CALL = 64
"""A quarter of a million messages."""
MAX_BAD = 20
"""Syntax errors in a row: a client would have stopped, what goes on is no client."""
_TURN_EVENTS = 50
"""Thousands of small commands sent at once must not keep the loop from others."""
_LITERAL_SKIP_LIMIT = 1 << 30
"""A refused non-synchronising literal larger than this is not waited for."""


class Session(Connection):
    """The protocol object of one connection."""

    __slots__ = (
        "_bad_count",
        "_dirty",
        "_dismissed",
        "_login_by",
        "_subscription",
        "account",
        "enabled",
        "idle_tag",
        "login_failures",
        "selected",
        "service",
    )

    def __init__(self, service: ImapService) -> None:
        super().__init__(service.login_limits, service.deps.clock)
        self.service = service
        self.account: Account | None = None
        self.selected: Selected | None = None
        self.enabled: set[str] = set()
        """Capability names in upper case. RFC 5161"""
        self.idle_tag = b""
        self.login_failures = 0
        self._bad_count = 0
        self._dirty = False
        self._dismissed = False
        self._login_by = math.inf
        self._subscription: Subscription | None = None

    # life
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        super().connection_made(transport)
        if not self.service.opened(self):
            self.write(b"* BYE [UNAVAILABLE] Try again later\r\n")
            self.close()
            return
        self._login_by = self.clock.monotonic_seconds() + LOGIN_SECONDS
        self.expire_in(LOGIN_SECONDS)
        self.write(f"* OK [CAPABILITY {self.service.capabilities(self)}] IMAP ready\r\n".encode("ascii"))
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        super().connection_lost(exc)
        self.unselect()
        self.service.gone(self)

    @property
    def state(self) -> State:
        """Where the session stands. RFC 9051 3."""
        if self.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    def logged_in(self, account: Account) -> None:
        """From now on the session acts for this account."""
        self.account = account
        self.login_failures = 0
        self.framer.limits = self.service.limits

    def say_goodbye(self, text: str) -> None:
        """BYE and the end. RFC 9051 7.1.5."""
        self.write(f"* BYE {text}\r\n".encode("ascii"))
        self.close()

    def dismiss(self) -> None:
        """The login counts no more: the end, at once or after the running command."""
        self._dismissed = True
        if not self.running:
            self._leave_when_told()

    def expire_in(self, seconds: float) -> None:
        """The sweep ends the session after this long; nothing puts the end of the time to log in off."""
        super().expire_in(seconds)
        if self.account is None:
            self.expires_at = min(self.expires_at, self._login_by)

    def expire(self) -> None:
        """The time is up: a peer that does not read is cut off, another is told."""
        if self._writing_paused or self.closed:
            self.abort()
        else:
            self.say_goodbye("Autologout, idle for too long")

    def on_hint(self) -> None:
        """Something changed in the account: an idling session looks at once, another at its next command."""
        self._dirty = True
        if self.idle_tag:
            self.wake()

    # for handlers
    @property
    def view(self) -> Selected:
        """The selected mailbox of a command that runs in the selected state only."""
        assert self.selected is not None
        return self.selected

    async def offload(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call in a thread. An account whose mailboxes are locked keeps no more than its share of them waiting."""
        key = None if self.account is None else self.account.account_id
        return await self.service.deps.offload.run_for(key, function, *args, **kwargs)

    def mail(self) -> interface.Account:
        """The account's store: blocking, call it in an offloaded function."""
        assert self.account is not None
        return self.service.deps.store.account(self.account.ref)

    def mail_of(self, view: Selected) -> interface.Account:
        """The store that holds a selected mailbox: blocking, call it in an offloaded function."""
        return self.service.deps.store.account(view.ref)

    @property
    def condstore(self) -> bool:
        """Whether FETCH answers have MODSEQ."""
        return "CONDSTORE" in self.enabled

    @property
    def qresync(self) -> bool:
        """Whether VANISHED stands for EXPUNGE. RFC 7162 3.2.3"""
        return "QRESYNC" in self.enabled

    @property
    def rev2(self) -> bool:
        """Whether the client chose IMAP4rev2."""
        return "IMAP4REV2" in self.enabled

    @property
    def uidonly(self) -> bool:
        """Whether sequence numbers are out of use. RFC 9586"""
        return "UIDONLY" in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether strings may be UTF-8. RFC 9755, RFC 9051 5.1"""
        return "UTF8=ACCEPT" in self.enabled or self.rev2

    @property
    def vanished(self) -> bool:
        """Whether removals are told by UID."""
        return self.qresync or self.uidonly

    def line(self, text: str) -> None:
        """Queue an untagged line, without its `* ` and CRLF."""
        self.write(f"* {text}\r\n".encode("ascii"))

    def listen(self, account_id: AccountId) -> None:
        """Take note of hints from here on: before a mailbox is read, so that nothing falls between."""
        self._dirty = False
        self._subscription = self.service.deps.bus.subscribe(account_topic(account_id), self.on_hint)

    def unselect(self) -> None:
        """Leave the selected state, or stop listening when it was not reached."""
        self.selected = None
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def enable_condstore(self) -> None:
        """RFC 7162 3.1: the first command that shows interest turns MODSEQ in all FETCH answers on."""
        if not self.condstore:
            self.enabled.add("CONDSTORE")
            if self.selected is not None:
                self.line(f"OK [HIGHESTMODSEQ {self.selected.highest_modseq}] CONDSTORE enabled")

    # the selected mailbox's messages
    async def positions(self, wanted: SequenceSet, *, uid: bool) -> Sequence[int]:
        """What a message set means, ascending and loaded; a number beyond the mailbox is BAD."""
        view = self.view
        if not uid and not wanted.saved:
            positions = positions_of_numbers(view, wanted)
            await self.load(positions)
            return positions
        last = view.blocks.last()
        if last is not None and not last.is_loaded and has_star(wanted):
            await self._fill(view, [last.number])
        bounds = uid_bounds(view, wanted)
        await self._fill(view, view.blocks.missing_between(bounds))
        return positions_of_uids(view, bounds)

    async def load(self, positions: Sequence[int] | None) -> None:
        """Make sure that these messages of the selected mailbox are loaded; None: all."""
        await self._fill(self.view, self.view.blocks.missing(positions))

    async def _fill(self, view: Selected, numbers: Sequence[int]) -> None:
        as_of, below = view.highest_modseq, Uid(view.uidnext)
        for start in range(0, len(numbers), _BLOCKS_A_CALL):
            part = numbers[start : start + _BLOCKS_A_CALL]
            await self.offload(
                lambda part: view.fill(self.mail_of(view).blocks(view.mailbox_id, part, as_of, below)), part
            )

    async def tell_expunged(self, uids: Sequence[int]) -> None:
        """The session itself removed these from the selected mailbox; a command that may tell it at once."""
        view = self.view
        view.expunged_here(uids)
        await self._fill(view, view.blocks_to_tell(vanished=self.vanished))
        if len(uids) > _MANY:
            lines = await self.offload(view.remove_withheld, vanished=self.vanished)
        else:
            lines = view.remove_withheld(vanished=self.vanished)
        self.write("".join(lines).encode("ascii"))

    # the loop
    async def run(self) -> None:
        """Work through everything received; returns when more bytes or a hint are needed."""
        handled = 0
        while not self.closed:
            if self.idle_tag and self._dirty:
                await self._guarded(self._push_news())
            event = self.framer.next_event()
            if event is None:
                self.flush()
                self._resume_reading()
                if self.idle_tag and self._dirty:
                    continue
                self._leave_when_told()
                return
            await self._guarded(self._handle(event))
            handled += 1
            if handled % _TURN_EVENTS == 0:
                await asyncio.sleep(0)
            self._leave_when_told()

    def _leave_when_told(self) -> None:
        """Between commands: the end that came up meanwhile."""
        if self.closed:
            return
        if self._dismissed:
            self.say_goodbye("Your login counts no more")
        elif self.service.draining:
            self.say_goodbye("[UNAVAILABLE] Server is shutting down")

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Run a step so that no fault of ours ends more than the command."""
        try:
            await work
        except ConnectionGone:
            raise
        except Goodbye as goodbye:
            self.say_goodbye(str(goodbye))
        except Exception as error:  # noqa: BLE001 - the session's edge
            self.service.unexpected(self, error)
            self.say_goodbye("[SERVERBUG] Internal error")

    async def _push_news(self) -> None:
        try:
            await self.look(expunges=True)
        except MailboxError as error:
            if not error.temporary:
                raise Goodbye("Selected mailbox is gone") from error
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
        if row is not None and request is not None and Does.STREAMS in row.flags and self.state & row.states:
            try:
                arguments = row.parse(Cursor(event.prefix, len(request.tag) + 1 + len(request.verb), utf8=self.utf8))
            except MailboxError:
                arguments = None  # the literal is one of its other arguments, or the syntax is wrong: told later
            if arguments is not None:
                await self._execute(row, request, arguments)
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

    async def _execute(self, row: AnyCommand, request: Request, arguments: object) -> None:
        self._bad_count = 0
        self.service.count(row.verb)
        self.expire_in(AUTOLOGOUT_SECONDS)
        try:
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

    async def look_or_later(self, *, expunges: bool, uid: bool = False) -> None:
        """As `look`, but the command is done all the same when the store cannot tell: the news come with the next one."""
        try:
            await self.look(expunges=expunges, uid=uid)
        except MailboxError as error:
            self._dirty = True
            self.service.deps.log.warning("no news", session=self.session_id, code=error.code)

    async def look(self, *, expunges: bool, uid: bool = False) -> None:
        """Ask the store what is new and queue it."""
        view = self.selected
        if view is None:
            return
        self._dirty = False
        since = view.highest_modseq
        changes = await self._shared("changes", view, lambda mail: mail.changes(view.mailbox_id, since))
        if not changes.exists:
            raise Goodbye("Selected mailbox was deleted")
        await self._fill(view, view.concerned(changes, expunges=expunges, vanished=self.vanished))
        if len(changes.changed) + len(changes.expunged) > _MANY:
            lines, new = await self.offload(self._apply, view, changes, expunges, uid)
        else:
            lines, new = self._apply(view, changes, expunges, uid)
        if lines:
            self.write("".join(lines).encode("ascii"))
        if new and not view.read_only:
            if self.idle_tag:
                self.flush()  # EXISTS does not wait for the claim
            first = await self._shared("recent", view, lambda mail: mail.claim_recent(view.mailbox_id))
            told = view.mark_recent_since(first, new)
            if not self.rev2:
                self.write("".join(told).encode("ascii"))

    async def _shared(self, what: str, view: Selected, read: Callable[[interface.Account], T]) -> T:
        """What sessions with the same view of a mailbox ask at the same moment is asked once."""
        key = (what, view.ref.account_id, view.mailbox_id, view.highest_modseq)
        return await self.service.sharing.call(key, lambda: self.offload(lambda: read(self.mail_of(view))))

    def _apply(self, view: Selected, changes: Changes, expunges: bool, uid: bool) -> tuple[list[str], Sequence[int]]:
        shows_uid = uid or self.vanished
        return view.apply(changes, expunges=expunges, uid=shows_uid, modseq=self.condstore, vanished=self.vanished)

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
