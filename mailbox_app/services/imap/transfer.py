"""Copying messages where one store call cannot: from one account's mailbox to another's. Blocking.

Every message is written anew in the target account, then all of them become visible in one transaction: all or nothing.
Flags that the target's rights do not allow are left out (RFC 4314 4). A move removes the originals afterwards, so what
is cut off in between leaves a message twice and never not at all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.services.imap.namespaces import Located
from mailbox_app.services.imap.permissions import permitted
from mailbox_app.store.interface import Content, NewMessage, Store
from mailbox_app.store.model import KEYWORD_SHIFT, Appended, Copied, FlagMode, Message, SystemFlag

_SYSTEM_BITS = (1 << KEYWORD_SHIFT) - 1


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
    new: list[NewMessage] = []
    try:
        for message in account.messages(mailbox_id, uids):
            ready = _staged(store, source, message, target, target_id, keywords)
            if ready is not None:
                copied.append(message.uid)
                new.append(ready)
    except BaseException:
        for each in new:
            store.discard(each.staged)
        raise
    results = store.account(target.ref).append(new, atomic=True) if new else ()
    appended = [result for result in results if isinstance(result, Appended)]
    if move and copied:
        account.store_flags(mailbox_id, copied, FlagMode.ADD, SystemFlag.DELETED)
        account.expunge(mailbox_id, copied)
    uidvalidity = appended[0].uidvalidity if appended else 0
    return Copied(uidvalidity, copied, [each.uid for each in appended])


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
