"""What NOTIFY watches: a picture of the mailboxes, compared with a new one at each hint. RFC 5465.

A hint costs one reading of the mailboxes' counts, shared by all sessions of an account that hear it in the same turn.
Of several groups the first that names a mailbox counts. The selected mailbox is told by the session itself, as in IDLE,
only sooner. More news than a client takes in end the watch with NOTIFICATIONOVERFLOW.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailbox_app.events.hints import Subscription, account_topic
from mailbox_app.ids import AccountId, MailboxId
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.acl import ALL_RIGHTS
from mailbox_app.proto.imap.notify import EventGroup, Notify
from mailbox_app.proto.imap.patterns import above, parents
from mailbox_app.services.imap.annotations import of_mailbox, server_annotations
from mailbox_app.services.imap.fetch_sending import send_fetched
from mailbox_app.services.imap.fetching import FetchPlan
from mailbox_app.services.imap.listings import list_line, mailbox_words, old_name
from mailbox_app.services.imap.mailbox_status import status_line
from mailbox_app.services.imap.namespaces import (
    Seen,
    account_of,
    is_shared_name,
    shared_mailboxes,
    sharing_owners,
)
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo

_MAX_LINES = 2_000
"""In one push; a client with more news is better off asking."""

Key = tuple[AccountId, MailboxId]


@dataclass(frozen=True, slots=True)
class Picture:
    """The mailboxes at one moment."""

    mailboxes: Mapping[Key, Seen]
    subscriptions: frozenset[str]
    annotations: Mapping[str, Mapping[str, int]]
    """By mailbox name (empty: the server's) and entry: a checksum of the value; only when somebody wants it."""


class Watch:
    """The NOTIFY of one session."""

    def __init__(self, notify: Notify, session: Session) -> None:
        self.is_dirty = False
        self._session = session
        self._groups = [group for group in notify.groups if not group.is_selected]
        self.selected = next((group for group in notify.groups if group.is_selected), None)
        self._picture = Picture({}, frozenset(), {})
        self._subscriptions: dict[AccountId, Subscription] = {}
        events = frozenset[str]().union(*(group.events for group in self._groups))
        self._wants_metadata = bool(events & {"MAILBOXMETADATACHANGE", "SERVERMETADATACHANGE"})
        self._wants_shared = any(
            group.kind == "SUBSCRIBED" or any(is_shared_name(name) or name == "Users" for name in group.names)
            for group in self._groups
        )

    def close(self) -> None:
        """Hear no more hints."""
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()

    def tells_new(self) -> bool:
        """Whether the selected mailbox's news are told at once."""
        return self.selected is not None and bool(self.selected.events)

    def tells_expunges(self) -> bool:
        """Whether removals are told at once: not with `selected-delayed`."""
        return self.selected is not None and self.selected.kind == "SELECTED"

    async def begin(self, *, tells_status: bool) -> None:
        """Listen, then take the first picture; with STATUS, tell what is in it."""
        session = self._session
        if not self._groups:
            return
        self._listen(account_of(session).account_id)
        if self._wants_shared:
            for owner in await session.offload(sharing_owners, session):
                self._listen(owner.account_id)
        self._picture = await session.offload(self._take, await self._own())
        if tells_status:
            session.write(*await session.offload(self._all_status))

    async def push(self) -> bool:
        """Queue the lines of what changed; False: it was too much, and the watch is over."""
        session = self._session
        self.is_dirty = False
        picture, lines = await session.offload(self._look, await self._own())
        self._picture = picture
        for owner_id, _ in picture.mailboxes:
            self._listen(owner_id)
        if len(lines) > _MAX_LINES:
            session.line("OK [NOTIFICATIONOVERFLOW] Too much happened, ask for it")
            return False
        session.write(*lines)
        return True

    async def tell_messages(self, uids: Sequence[int]) -> None:
        """What was asked for of each new message; nothing is marked as seen. RFC 5465 5.2."""
        if self.selected is None or self.selected.fetched is None:
            return
        session = self._session
        positions = await session.positions_of(uids)
        if positions:
            await send_fetched(session, FetchPlan(session.view, self.selected.fetched, (), uid=True), positions)

    def _hint(self) -> None:
        self.is_dirty = True
        self._session.wake()

    def _listen(self, account_id: AccountId) -> None:
        """The loop's thread only."""
        if account_id not in self._subscriptions:
            topic = account_topic(account_id)
            self._subscriptions[account_id] = self._session.service.deps.bus.subscribe(topic, self._hint)

    async def _own(self) -> Sequence[MailboxInfo]:
        """Sessions that hear the same hint in the same turn ask once."""
        session = self._session
        key = ("mailboxes", account_of(session).account_id)
        return await session.service.sharing.call(key, lambda: session.offload(lambda: session.mail().mailboxes()))

    # blocking
    def _all_status(self) -> list[bytes]:
        lines = []
        for each in self._picture.mailboxes.values():
            group = self._group_of(each.shown, self._picture, is_own=self._is_own(each))
            if group is not None and "MESSAGENEW" in group.events and "r" in each.rights:
                lines.append(self._status(each, group))
        return lines

    def _look(self, own: Sequence[MailboxInfo]) -> tuple[Picture, list[bytes]]:
        session, before, after = self._session, self._picture, self._take(own)
        lines = self._name_lines(before, after)
        for key, each in after.mailboxes.items():
            old = before.mailboxes.get(key)
            group = self._group_of(each.shown, after, is_own=self._is_own(each))
            if group is not None and "r" in each.rights and self._is_news(group, old, each):
                selected = session.selected
                if selected is None or (selected.ref.account_id, selected.mailbox_id) != key:
                    lines.append(self._status(each, group))
        lines += self._subscription_lines(before, after)
        lines += self._metadata_lines(before, after)
        return after, lines

    def _take(self, own: Sequence[MailboxInfo]) -> Picture:
        session = self._session
        seen = [Seen(account_of(session).ref, info, ALL_RIGHTS, info.name) for info in own]
        if self._wants_shared:
            seen += shared_mailboxes(session)
        annotations: dict[str, Mapping[str, int]] = {}
        if self._wants_metadata:
            annotations[""] = _checksums(server_annotations(session))
            for each in seen:
                if {"l", "r"} <= set(each.rights):
                    annotations[each.shown] = _checksums(of_mailbox(session, each.ref, each.info))
        mailboxes = {(each.ref.account_id, each.info.mailbox_id): each for each in seen}
        return Picture(mailboxes, frozenset(session.mail().subscriptions()), annotations)

    def _is_own(self, each: Seen) -> bool:
        return each.ref.account_id == account_of(self._session).account_id

    def _group_of(self, name: str, picture: Picture, *, is_own: bool) -> EventGroup | None:
        for group in self._groups:
            if group.kind in {"PERSONAL", "INBOXES"}:  # filters may deliver to any mailbox
                matches = is_own
            elif group.kind == "SUBSCRIBED":
                matches = name in picture.subscriptions
            elif group.kind == "SUBTREE":
                matches = name in group.names or not group.names.isdisjoint(above(name))
            else:
                matches = name in group.names
            if matches:
                return group
        return None

    def _is_news(self, group: EventGroup, old: Seen | None, new: Seen) -> bool:
        if old is None or "MESSAGENEW" not in group.events:
            return old is None and "MESSAGENEW" in group.events and new.info.message_count > 0
        if (old.info.uidnext, old.info.message_count) != (new.info.uidnext, new.info.message_count):
            return True
        same_place = old.shown == new.shown
        return "FLAGCHANGE" in group.events and same_place and old.info.highest_modseq != new.info.highest_modseq

    def _status(self, each: Seen, group: EventGroup) -> bytes:
        session = self._session
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"]
        if session.condstore or "FLAGCHANGE" in group.events:  # RFC 5465 4
            items.append("HIGHESTMODSEQ")
        return status_line(session, each.ref, each.info, each.shown, items)

    def _name_lines(self, before: Picture, after: Picture) -> list[bytes]:
        session = self._session
        lines: list[bytes] = []
        with_children = parents(each.shown for each in after.mailboxes.values())
        for key in before.mailboxes.keys() | after.mailboxes.keys():
            old, new = before.mailboxes.get(key), after.mailboxes.get(key)
            if old is not None and new is not None and old.shown == new.shown:
                continue
            each = new or old
            assert each is not None
            group = self._group_of(each.shown, after, is_own=self._is_own(each))
            if group is None or "MAILBOXNAME" not in group.events:
                continue
            if new is None:
                lines.append(list_line(session, "LIST", ["\\NonExistent"], each.shown))
            else:
                words = mailbox_words(new, has_children=new.shown in with_children)
                item = old_name(session, old.shown) if old is not None else b""
                lines.append(list_line(session, "LIST", words, new.shown, item))
        return sorted(lines)

    def _subscription_lines(self, before: Picture, after: Picture) -> list[bytes]:
        session = self._session
        lines: list[bytes] = []
        existing = {each.shown for each in after.mailboxes.values()}
        for name in sorted(before.subscriptions ^ after.subscriptions):
            is_on = name in after.subscriptions
            picture = after if is_on else before  # the group of subscribed ones still has one that leaves it
            group = self._group_of(name, picture, is_own=not is_shared_name(name))
            if group is not None and "SUBSCRIPTIONCHANGE" in group.events:
                words = ["\\Subscribed"] if is_on else []
                if name not in existing:
                    words.insert(0, "\\NonExistent")
                lines.append(list_line(session, "LIST", words, name))
        return lines

    def _metadata_lines(self, before: Picture, after: Picture) -> list[bytes]:
        session = self._session
        lines: list[bytes] = []
        for name, entries in after.annotations.items():
            known = before.annotations.get(name)
            if known is None or known == entries:
                continue
            event = "MAILBOXMETADATACHANGE" if name else "SERVERMETADATACHANGE"
            if name:
                group = self._group_of(name, after, is_own=not is_shared_name(name))
                wanted = group is not None and event in group.events
            else:
                wanted = any(event in group.events for group in self._groups)
            if wanted:
                changed = sorted(
                    entry for entry in known.keys() | entries.keys() if known.get(entry) != entries.get(entry)
                )
                lines.append(_changed_line(session, name, changed))
        return lines


def _checksums(values: Mapping[str, bytes]) -> dict[str, int]:
    return {entry: zlib.crc32(value) for entry, value in values.items()}


def _changed_line(session: Session, name: str, entries: Sequence[str]) -> bytes:
    """Entry names without values. RFC 5464 4.4.2."""
    shown = response.mailbox(name, utf8=session.utf8) if name else b'""'
    words = b" ".join(response.astring(entry.encode("ascii")) for entry in entries)  # others may have named them
    return b"* METADATA %b %b\r\n" % (shown, words)
