"""Which mailboxes exist, compared with the folders that are really there.

Other programs make and remove Maildir++ folders, and a process killed in a rename leaves some under the new name; the
`mailbox.json` inside tells which mailbox a folder is. Folders of deleted mailboxes that are still there are removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from mailbox_app.store.maildir import keywords, names, notes, queries, retained
from mailbox_app.store.maildir.files import make_maildir, mtime_of
from mailbox_app.store.maildir.mailboxes import DELETED_PREFIX, drop_row, new_row
from mailbox_app.store.maildir.metadata import MailboxFile, read_mailbox
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import AccountRow, MailboxRow


def synchronise(opened: OpenAccount) -> None:
    """Bring the rows in step with the folders, when the Maildir root changed since they were."""
    with opened.db.reading() as connection:
        account = queries.load_account(connection)
    if account is None or not are_stale(opened, account):
        return
    with opened.writing(durable=False) as work:
        rubbish = reconcile(work)
    remove(rubbish)


def are_stale(opened: OpenAccount, account: AccountRow) -> bool:
    """Whether somebody else changed the Maildir root."""
    return account.root_mtime != mtime_of(opened.maildir)


def remove(rubbish: Sequence[str]) -> None:
    """Remove folders of deleted mailboxes."""
    for path in rubbish:
        shutil.rmtree(path, ignore_errors=True)  # what stays is found by the next `reconcile`


def reconcile(work: Work) -> list[str]:
    """Make rows for folders and drop those without; paths of deleted mailboxes to remove after the commit."""
    opened = work.opened
    work.account.root_mtime = mtime_of(opened.maildir)
    found, rubbish = _scan(opened.maildir)
    rows = {row.folder: row for row in queries.all_mailboxes(work.connection)}
    missing = {row.mailbox_id: row for folder, row in rows.items() if folder and folder not in found}
    for folder in sorted(found - rows.keys()):
        path = os.path.join(opened.maildir, folder)
        facts = read_mailbox(path)
        moved = missing.pop(facts.mailbox_id, None) if facts else None
        name = names.name_of(folder)
        if name is None or work.named(name) is not None:
            if moved is not None:
                missing[moved.mailbox_id] = moved
            continue
        if moved is not None:
            row = work.adopt_row(moved)
            row.name, row.folder = name, folder
            work.next_modseq(row)
            queries.save_mailbox_name(work.connection, row)  # so that no other folder takes the name
        else:
            adopt_folder(work, name, folder, facts)
    for row in missing.values():
        if not os.path.isdir(opened.folder(row)) and not retained.put_back_folder(opened, row):
            drop_row(work, work.adopt_row(row))
    return rubbish


def adopt_folder(work: Work, name: str, folder: str, facts: MailboxFile | None) -> MailboxRow:
    """A row for a folder that is there; its messages are taken in by the next `sync`."""
    account = work.account
    path = os.path.join(work.opened.maildir, folder) if folder else work.opened.maildir
    same_identity = facts is not None and not queries.mailbox_exists(work.connection, facts.mailbox_id)
    if facts is not None and same_identity:
        row = new_row(facts.mailbox_id, name, folder, facts.uidvalidity)
        row.uidnext = row.first_recent_uid = row.uid_reserved = facts.uid_reserved
        row.special_use, row.keywords = facts.special_use, " ".join(facts.keywords)
        account.next_mailbox_id = max(account.next_mailbox_id, facts.mailbox_id + 1)
        account.last_uidvalidity = max(account.last_uidvalidity, facts.uidvalidity)
        retained.gave_back(work, facts.mailbox_id)
    else:
        make_maildir(path)
        mailbox_id, uidvalidity = work.new_identity()
        row = new_row(mailbox_id, name, folder, uidvalidity)
        row.keywords = " ".join(facts.keywords if facts else keywords.of_folder(path))
        work.write_facts(row)
    row.expunged_floor = work.next_modseq(row)
    queries.insert_mailbox(work.connection, row)
    notes.adopt(work, row, path, same_identity=same_identity)
    return work.adopt_row(row)


def highest_mailbox_id(maildir: str) -> int:
    """The highest id in any folder's `mailbox.json` or among retained messages; 0 without any."""
    folders, _ = _scan(maildir)
    facts = [read_mailbox(os.path.join(maildir, folder)) for folder in ("", *folders)]
    retained_ids = retained.folders_by_mailbox(os.path.dirname(maildir))
    return max((*(one.mailbox_id for one in facts if one), *retained_ids), default=0)


def _scan(maildir: str) -> tuple[set[str], list[str]]:
    """(Maildir++ folders, paths of deleted ones)."""
    folders: set[str] = set()
    rubbish: list[str] = []
    with os.scandir(maildir) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(DELETED_PREFIX):
                rubbish.append(entry.path)
            elif name.startswith(".") and entry.is_dir(follow_symlinks=False) and os.path.isdir(f"{entry.path}/cur"):
                folders.add(name)
    return folders, rubbish
