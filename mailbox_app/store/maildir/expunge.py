"""Removing messages: rows first, files after the commit, so that a crash never takes a message that was not expunged."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.ids import Uid
from mailbox_app.store.maildir import expunge_queries, queries, retained
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow, State


def expunge(opened: OpenAccount, mailbox_id: int, uids: Sequence[int] | None) -> list[Uid]:
    """Carry out `Account.expunge`."""
    with opened.db.reading() as connection:
        row = queries.load_mailbox(connection, mailbox_id)
        if not row.deleted_count:
            return []
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        expunge_queries.choose_deleted(work.connection, row, uids)
        gone = expunge_queries.chosen_uids(work.connection, row)
        if gone:
            _take_chosen(work, row, retain=True)
    return [Uid(uid) for uid in gone]


def remove(work: Work, row: MailboxRow, found: Sequence[State], *, retain: bool) -> None:
    """Remove rows now; the files go after the commit, or later to the retained ones when they should come back."""
    if found:
        expunge_queries.choose(work.connection, [state[0] for state in found])
        _take_chosen(work, row, retain=retain)


def drop_rows(work: Work, row: MailboxRow, found: Sequence[State]) -> None:
    """Take messages whose files are gone out of the index and the counts, and log their UIDs."""
    if found:
        expunge_queries.choose(work.connection, [state[0] for state in found])
        expunge_queries.forget_chosen_rendered(work.connection)
        _forget_chosen(work, row, expunge_queries.sum_chosen(work.connection))


def _take_chosen(work: Work, row: MailboxRow, *, retain: bool) -> None:
    chosen = expunge_queries.sum_chosen(work.connection)
    if retain and work.opened.retention().days:
        retained.keep_chosen(work, row, chosen)
    else:
        work.doomed.append((row, expunge_queries.doom_chosen(work.connection, row.mailbox_id)))
    _forget_chosen(work, row, chosen)


def _forget_chosen(work: Work, row: MailboxRow, chosen: expunge_queries.Chosen) -> None:
    expunge_queries.delete_chosen(work.connection, row, work.next_modseq(row), chosen.message_count)
    row.message_count -= chosen.message_count
    row.size_bytes -= chosen.size_bytes
    row.unseen_count -= chosen.unseen_count
    row.deleted_count -= chosen.deleted_count
    work.account.used_bytes -= chosen.size_bytes
    work.account.used_messages -= chosen.message_count
