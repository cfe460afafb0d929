"""QUIT: what was marked goes, and the session ends. RFC 1939 6.

Some hundred messages go in a transaction, so that deliveries and other sessions get their turn in between. A message
that somebody else removed meanwhile is removed as it should be.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.errors import MailboxError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.session import AUTOLOGOUT_SECONDS, Session
from mailbox_app.store.interface import Account
from mailbox_app.store.model import FlagMode, SystemFlag

_AT_ONCE = 500


async def quit_session(session: Session, argument: bytes) -> None:
    """Remove, answer, end."""
    answer = "+OK Goodbye"
    if session.maildrop is not None:
        drop = session.maildrop
        uids = drop.marked_uids()
        try:
            for start in range(0, len(uids), _AT_ONCE):
                session.expire_in(AUTOLOGOUT_SECONDS)
                await session.offload(_remove, session.mail(), drop.mailbox_id, uids[start : start + _AT_ONCE])
        except MailboxError as error:
            session.warn("not removed", error)
            answer = "-ERR [SYS/TEMP] Some deleted messages were not removed"
        session.leave_maildrop()
    session.write(answer.encode("ascii"), b"\r\n")
    session.close()


def _remove(mail: Account, mailbox_id: MailboxId, uids: Sequence[Uid]) -> None:
    mail.store_flags(mailbox_id, uids, FlagMode.ADD, int(SystemFlag.DELETED))
    mail.expunge(mailbox_id, uids)


QUIT = Command("QUIT", State.ANY, Takes.NOTHING, "RFC 1939 6", quit_session)
