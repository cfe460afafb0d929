"""A session's selected mailbox: messages loaded when a command needs them, news told when they may be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError
from mailbox_app.events.hints import Subscription, account_topic
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.net.connection import ConnectionGone
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.imap.sequence import SequenceSet
from mailbox_app.services.imap.command import Request
from mailbox_app.services.imap.connection import Connection
from mailbox_app.services.imap.message_set import has_star, positions_of_numbers, positions_of_uids, uid_bounds
from mailbox_app.services.imap.search_contexts import leaving_lines, tell_changed
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store import interface
from mailbox_app.store.model import BlockRows, Changes

if TYPE_CHECKING:
    from mailbox_app.services.imap.server import ImapService
    from mailbox_app.services.imap.watching import Watch

P = ParamSpec("P")
T = TypeVar("T")

_MANY = 500
"""Changes that are worked through in a thread: less is done sooner than handed over."""
_BLOCKS_A_CALL = 16
"""Blocks read at once: some milliseconds of a thread's time."""
_KEPT_WHEN_IDLE = 500
"""Messages, at 20 bytes each, that an idling session keeps; more are read again when they are needed."""


class Following(Connection):
    """What a session knows and does about mailboxes; the session itself speaks the protocol."""

    __slots__ = ("_dirty", "_stamp", "_subscription", "account", "enabled", "idle_tag", "selected", "watch")

    service: ImapService

    def __init__(self, service: ImapService) -> None:
        super().__init__(service.login_limits, service)
        self.account: Account | None = None
        self.selected: Selected | None = None
        self.enabled: set[str] = set()
        """Capability names in upper case. RFC 5161"""
        self.idle_tag = b""
        self._dirty = False
        self._stamp: Hashable = None
        """Of the selected mailbox, just before the last look."""
        self._subscription: Subscription | None = None
        self.watch: Watch | None = None
        """What NOTIFY asked for."""

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

    # the selected mailbox
    def on_hint(self) -> None:
        """Something changed in the account: an idling session looks at once, another at its next command."""
        self._dirty = True
        if self.pushes:
            self.wake()

    @property
    def pushes(self) -> bool:
        """Whether news of the selected mailbox are told without a command: in IDLE, or as NOTIFY asked."""
        return bool(self.idle_tag) or (self.watch is not None and self.watch.tells_new())

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell without a command."""
        if self._dirty and self.selected is not None and self.pushes:
            return True
        return self.watch is not None and self.watch.is_dirty

    async def tell_news(self) -> None:
        """Tell it."""
        watch = self.watch
        if watch is not None and watch.is_dirty and not await watch.push():
            self.stop_watching()
        if self._dirty and self.pushes:
            await self.look(expunges=bool(self.idle_tag) or (watch is not None and watch.tells_expunges()))
            self.tell_settled()

    def tell_settled(self) -> None:
        """While removals are withheld: how far the client may trust what it knows, whatever MODSEQs it was told, so that
        it asks for those removals when it comes back after a cut. RFC 7162 3.2.5"""
        view = self.selected
        if view is not None and view.withheld and self.qresync:
            self.line(f"OK [HIGHESTMODSEQ {view.settled_modseq}] Removals wait")

    def stop_watching(self) -> None:
        """NOTIFY NONE, or the end."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None

    @property
    def view(self) -> Selected:
        """The selected mailbox of a command that runs in the selected state only."""
        if self.selected is None and self.closed:
            raise ConnectionGone  # the client left while its command ran
        assert self.selected is not None
        return self.selected

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

    # its messages
    async def positions(self, wanted: SequenceSet, *, uid: bool) -> Sequence[int]:
        """What a message set means, ascending and loaded; a number beyond the mailbox is BAD."""
        view = self.view
        if not uid and not wanted.saved:
            is_much = len(wanted.ranges) > _MANY
            find = partial(positions_of_numbers, view, wanted)
            positions = await self.offload(find) if is_much else find()
            await self.load(positions)
            return positions
        last = view.blocks.last()
        if last is not None and not last.is_loaded and has_star(wanted):
            await self._fill(view, [last.number])
        is_much = max(len(wanted.ranges), len(view.saved) if wanted.saved else 0) > _MANY
        bounds = await self.offload(uid_bounds, view, wanted) if is_much else uid_bounds(view, wanted)
        await self._fill(view, view.blocks.missing_between(bounds))
        if len(bounds) > _MANY:
            return await self.offload(positions_of_uids, view, bounds)
        return positions_of_uids(view, bounds)

    async def positions_of(self, uids: Sequence[int]) -> Sequence[int]:
        """The positions of those of these ascending UIDs that are there, loaded."""
        blocks = self.view.blocks
        await self._fill(self.view, blocks.missing_of(uids))

        def find() -> list[int]:
            return [place for uid in uids if (place := blocks.index_of(uid)) is not None]

        return await self.offload(find) if len(uids) > _MANY else find()

    async def load(self, positions: Sequence[int] | None) -> None:
        """Make sure that these messages of the selected mailbox are loaded; None: all."""
        await self._fill(self.view, self.view.blocks.missing(positions))

    async def _fill(self, view: Selected, numbers: Sequence[int]) -> None:
        as_of, below = view.highest_modseq, Uid(view.uidnext)
        for start in range(0, len(numbers), _BLOCKS_A_CALL):
            part = tuple(numbers[start : start + _BLOCKS_A_CALL])
            found = await self._shared(part, view, partial(_blocks, view.mailbox_id, part, as_of, below))
            if len(view.withheld) > _MANY:
                await self.offload(view.fill, found)
            else:
                view.fill(found)

    async def tell_expunged(self, uids: Sequence[int]) -> None:
        """The session itself removed these from the selected mailbox; a command that may tell it at once."""
        view = self.view
        view.expunged_here(uids)
        concerned = partial(view.blocks_to_tell, vanished=self.vanished)
        await self._fill(view, await self.offload(concerned) if len(uids) > _MANY else concerned())
        if view.contexts:
            await self._tell_leaving(view, uids)
        if len(uids) > _MANY:
            lines = await self.offload(view.remove_withheld, vanished=self.vanished)
        else:
            lines = view.remove_withheld(vanished=self.vanished)
        self.write("".join(lines).encode("ascii"))

    # its news
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
        self._stamp, changes = await self._shared(
            "changes", view, lambda mail: (mail.stamp(view.watch), mail.changes(view.mailbox_id, since))
        )
        if not changes.exists:
            raise Goodbye("Selected mailbox was deleted")
        is_much = len(changes.changed) + len(changes.expunged) > _MANY
        concerned = partial(view.concerned, changes, expunges=expunges, vanished=self.vanished)
        await self._fill(view, await self.offload(concerned) if is_much else concerned())
        if view.contexts and expunges:
            await self._tell_leaving(view, [*view.withheld, *changes.expunged])
        if is_much:
            lines, new = await self.offload(self._apply, view, changes, expunges, uid)
        else:
            lines, new = self._apply(view, changes, expunges, uid)
        if lines:
            self.write("".join(lines).encode("ascii"))
        if new and not view.read_only:
            if self.idle_tag:
                self.flush()  # EXISTS does not wait for the claim
            below = Uid(view.uidnext)
            claims = await self._shared("recent", view, lambda mail: [mail.claim_recent(view.mailbox_id, below)])
            if not self.rev2:
                first = claims.pop() if claims else Uid(view.uidnext)  # of those who share the claim, one has it
                self.write("".join(view.mark_recent_since(first, new)).encode("ascii"))
        if new and self.watch is not None:
            await self.watch.tell_messages(new)
        if view.contexts and changes.changed:
            await tell_changed(self, view, [row[0] for row in changes.changed])

    async def _tell_leaving(self, view: Selected, uids: Sequence[int]) -> None:
        await self._fill(view, view.blocks.missing_of(uids))
        lines = await self.offload(leaving_lines, view, uids) if len(uids) > _MANY else leaving_lines(view, uids)
        for line in lines:
            self.line(line)

    async def done_with_modseq(self, request: Request) -> str:
        """The OK of a command that removed messages: with HIGHESTMODSEQ, once all other news up to it are told, so that
        the client may take it for its own. RFC 7162 3.2.7"""
        if self.condstore:
            await self.look_or_later(expunges=True, uid=request.uid)
            return f"[HIGHESTMODSEQ {self.view.highest_modseq}] {request.verb} done"
        return f"{request.verb} done"

    # idling
    def watched(self) -> tuple[AccountRef, str] | None:
        """Where the service looks for news of a waiting session without asking the session; None: nowhere."""
        if not self.pushes or self.selected is None:
            return None
        return self.selected.ref, self.selected.watch

    def look_at_next_poll(self) -> None:
        """The store cannot tell now: asking again at once would keep a core and the store busy."""
        self._dirty = False
        self._stamp = None

    def poll(self, stamp: Hashable) -> None:
        """Compare the mailbox's stamp with the one of the last look, in case a hint was lost; and keep little."""
        if not self.pushes or self.selected is None:
            return
        if stamp != self._stamp:
            self._stamp = stamp
            self.on_hint()
        elif not self.running:
            self.selected.forget_messages(_KEPT_WHEN_IDLE)
            self.rest()

    async def _shared(self, what: Hashable, view: Selected, read: Callable[[interface.Account], T]) -> T:
        """What sessions with the same view of a mailbox ask at the same moment is asked once."""
        key = (what, view.ref.account_id, view.mailbox_id, view.highest_modseq)
        return await self.service.sharing.call(key, lambda: self.offload(lambda: read(self.mail_of(view))))

    def _apply(self, view: Selected, changes: Changes, expunges: bool, uid: bool) -> tuple[list[str], Sequence[int]]:
        shows_uid = uid or self.vanished
        return view.apply(changes, expunges=expunges, uid=shows_uid, modseq=self.condstore, vanished=self.vanished)


def _blocks(
    mailbox_id: MailboxId, numbers: Sequence[int], as_of: Modseq, below: Uid, mail: interface.Account
) -> Sequence[BlockRows]:
    return mail.blocks(mailbox_id, numbers, as_of, below)
