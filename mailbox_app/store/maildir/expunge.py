"""Removing messages: rows first, files after the commit, so that a crash never takes a message that was not expunged."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.ids import Uid
from mailbox_app.store.maildir import queries
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow, State
from mailbox_app.store.model import SystemFlag


def expunge(opened: OpenAccount, mailbox_id: int, uids: Sequence[int] | None) -> list[Uid]:
    """Carry out `Account.expunge`."""
    with opened.db.reading() as connection:
        row = queries.load_mailbox(connection, mailbox_id)
        if not row.deleted_count:
            return []
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        found = [state for state in queries.states(work.connection, row, uids) if state[1] & SystemFlag.DELETED]
        remove(work, row, found)
    return [Uid(state[0] - row.base) for state in found]


def remove(work: Work, row: MailboxRow, found: Sequence[State]) -> None:
    """Remove rows now and their files after the commit."""
    if found:
        drop_rows(work, row, found)
        work.remove_files(row, [(state[4], state[3]) for state in found])


def drop_rows(work: Work, row: MailboxRow, found: Sequence[State]) -> None:
    """Take messages out of the index and the counts, and log their UIDs."""
    if not found:
        return
    removed_bytes = sum(state[2] for state in found)
    queries.delete_messages(work.connection, [state[0] for state in found])
    queries.log_expunged(work.connection, row, work.next_modseq(row), [state[0] - row.base for state in found])
    row.message_count -= len(found)
    row.size_bytes -= removed_bytes
    row.unseen_count -= sum(not state[1] & SystemFlag.SEEN for state in found)
    row.deleted_count -= sum(bool(state[1] & SystemFlag.DELETED) for state in found)
    work.account.used_bytes -= removed_bytes
    work.account.used_messages -= len(found)
