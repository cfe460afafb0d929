"""Copying messages where one store call cannot: from one account's mailbox to another's. Blocking.

Every message is written anew in the target account, then all of them become visible in one transaction: all or nothing.
Flags that the target's rights do not allow are left out (RFC 4314 4). A move removes the originals afterwards, so what
is cut off in between leaves a message twice and never not at all; when they cannot be removed the copies go again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.services.imap.namespaces import Located
from mailbox_app.services.imap.permissions import permitted
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.store.interface import Content, NewMessage, Store
from mailbox_app.store.model import KEYWORD_SHIFT, Appended, Copied, FlagMode, Message, SystemFlag

_SYSTEM_BITS = (1 << KEYWORD_SHIFT) - 1
_RENDERED_BYTES = 128 << 20
"""What all messages of one command may put into the target's index: it is in memory until the last one is staged."""


def transfer(
    store: Store,
    source: tuple[AccountRef, MailboxId, Sequence[str]],
    uids: Sequence[Uid],
    target: Located,
    *,
    move: bool,
) -> Copied:
    """`source` is whose mailbox, which, and its keywords; messages that are gone already are passed over."""
    ref, mailbox_id, keywords = source
    account = store.account(ref)
    target_id = store.account(target.ref).mailbox(target.name).mailbox_id
    copied: list[Uid] = []
    unmarked: list[Uid] = []
    new: list[NewMessage] = []
    held = 0
    try:
        for message in account.messages(mailbox_id, uids):
            ready = _staged(store, source, message, target, target_id, keywords)
            if ready is not None:
                copied.append(message.uid)
                new.append(ready)
                if not message.flags & SystemFlag.DELETED:
                    unmarked.append(message.uid)
                rendered = ready.staged.rendered
                held += len(rendered.header) + len(rendered.envelope) + 2 * len(rendered.bodystructure)
                _check_room(held)
    except BaseException:
        for each in new:
            store.discard(each.staged)
        raise
    results = store.account(target.ref).append(new, atomic=True) if new else ()
    appended = [result for result in results if isinstance(result, Appended)]
    if move and copied:
        try:
            account.store_flags(mailbox_id, copied, FlagMode.ADD, SystemFlag.DELETED)
            account.expunge(mailbox_id, copied)
        except BaseException:
            with suppress(MailboxError):  # then they stay twice
                _undo_move(store, (ref, mailbox_id), copied, unmarked, (target.ref, target_id), appended)
            raise
    uidvalidity = appended[0].uidvalidity if appended else 0
    return Copied(uidvalidity, copied, [each.uid for each in appended])


def _check_room(held_bytes: int) -> None:
    if held_bytes > _RENDERED_BYTES:
        raise Refusal("Too many messages at once for another user's mailbox", "LIMIT")


def _undo_move(
    store: Store,
    source: tuple[AccountRef, MailboxId],
    copied: Sequence[Uid],
    unmarked: Sequence[Uid],
    target: tuple[AccountRef, MailboxId],
    appended: Sequence[Appended],
) -> None:
    """Remove the copies again, only if all originals are there and stay."""
    account = store.account(source[0])
    there = account.messages(source[1], copied)
    if len(there) < len(copied):
        return
    marked = frozenset(each.uid for each in there if each.flags & SystemFlag.DELETED)
    marked_here = [uid for uid in unmarked if uid in marked]
    if marked_here:
        account.store_flags(source[1], marked_here, FlagMode.REMOVE, SystemFlag.DELETED)
    copies = store.account(target[0])
    uids = [each.uid for each in appended]
    copies.store_flags(target[1], uids, FlagMode.ADD, SystemFlag.DELETED)
    copies.expunge(target[1], uids)


def _staged(
    store: Store,
    source: tuple[AccountRef, MailboxId, Sequence[str]],
    message: Message,
    target: Located,
    target_id: MailboxId,
    keywords: Sequence[str],
) -> NewMessage | None:
    ref, mailbox_id, _ = source
    try:
        file = store.account(ref).open_message(mailbox_id, message.uid)
    except StoreError as error:
        if error.code == "store.no_such_message":
            return None
        raise
    with file:
        size = os.fstat(file.fileno()).st_size
        staged = store.stage(target.ref, Content(b"", file, size))
    names = [word for number, word in enumerate(keywords) if message.flags >> KEYWORD_SHIFT + number & 1]
    flags, allowed = permitted(target.rights, message.flags & _SYSTEM_BITS, names)
    return NewMessage(staged, target_id, flags, allowed, message.internal_seconds)
