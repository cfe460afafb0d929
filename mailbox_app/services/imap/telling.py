"""Tells the scripts what a command did: messages that came into a mailbox, flags that changed. RFC 6785.

One look at a name for accounts without scripts. Never fails: the command is done already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mailbox_app.delivery.mailbox_events import Cause, MailboxEvent
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.services.imap.namespaces import account_of
from mailbox_app.services.imap.selected import RECENT

if TYPE_CHECKING:
    from mailbox_app.services.imap.selected import Selected
    from mailbox_app.services.imap.session import Session


async def tell_new(session: Session, ref: AccountRef, mailbox_id: MailboxId, uids: Sequence[Uid], cause: Cause) -> None:
    """Messages came by this session."""
    events = session.service.deps.events
    if uids and events.concern(ref):
        await events.happened(MailboxEvent(ref, mailbox_id, uids, cause, account_of(session).address))


def flag_differences(
    session: Session, view: Selected, changed: Iterable[tuple[Uid, int, int]]
) -> Mapping[int, list[Uid]]:
    """Messages by the bits that differ from what the view still has; empty when nobody wants to know. In a
    thread: there may be many."""
    found: dict[int, list[Uid]] = {}
    if session.service.deps.events.names_script(view.ref, view.mailbox_id):
        for uid, flags, _ in changed:
            index = view.index_of(uid)
            bits = 0 if index is None else (view.flags_at((index,))[0] & ~RECENT) ^ flags
            if bits:
                found.setdefault(bits, []).append(uid)
    return found


async def tell_flags(session: Session, view: Selected, differences: Mapping[int, list[Uid]]) -> None:
    """Flags were changed by this session."""
    for bits, uids in differences.items():
        if not uids:
            continue
        event = MailboxEvent(view.ref, view.mailbox_id, uids, "FLAG", account_of(session).address, bits)
        await session.service.deps.events.happened(event)
