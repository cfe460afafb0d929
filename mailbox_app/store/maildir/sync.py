"""Noticing what other programs did to a mailbox's files, and what a killed process left behind.

A directory is only read when its time of change is not the one kept in the mailbox's row; `cur` at most once a second
and process, because a mail reader that works on the same tree changes it all the time. Inside the account's lock no
process of ours renames anything, so what differs from the rows is foreign or a leftover:

* a file without a row is taken in; unless its name says that it is a delivery of ours whose commit never came: that
  one goes to `tmp/`, where it stays for 36 hours, and so does a file of ours that is shorter than its name says, which
  a power cut left;
* a row without a file goes, as if expunged;
* letters that differ from those we wrote last are somebody's flag changes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.store.maildir import expunge, filenames, keywords, queries, retained_queries
from mailbox_app.store.maildir.adopt import adopt
from mailbox_app.store.maildir.files import mtime_of
from mailbox_app.store.maildir.metadata import read_mailbox
from mailbox_app.store.maildir.opened import OpenAccount, Work, find_message, remove_message
from mailbox_app.store.maildir.queries import MailboxRow, State
from mailbox_app.store.model import SystemFlag

SCAN_SECONDS = 1.0
ADOPT_LIMIT = 200
"""Files taken in by one transaction, so that others get the lock in between."""
_RACY_NANOSECONDS = 20_000_000
"""A directory that changed so lately may change again without another time stamp (one tick of an older kernel)."""


def is_stale(opened: OpenAccount, row: MailboxRow) -> bool:
    """Whether somebody else changed the mailbox's directories."""
    folder = opened.folder(row)
    if mtime_of(f"{folder}/new") != row.new_mtime:
        return True
    if mtime_of(f"{folder}/cur") == row.cur_mtime:
        return False
    last = opened.scanned_at.get(row.mailbox_id)
    return last is None or opened.clock.monotonic_seconds() - last >= SCAN_SECONDS


def synchronise(opened: OpenAccount, mailbox_id: int) -> None:
    """Bring the mailbox's rows in step with its files; raises `store.no_such_mailbox`."""
    with opened.db.reading() as connection:
        row = queries.load_mailbox(connection, mailbox_id)
    if not is_stale(opened, row):
        return
    opened.scanned_at[mailbox_id] = opened.clock.monotonic_seconds()
    while True:
        with opened.writing() as work:
            row = work.mailbox(mailbox_id)
            left = reconcile(work, row)
            if time.time_ns() - row.cur_mtime < _RACY_NANOSECONDS:
                work.scanned(row, clean=False)
        if not left:
            return


def reconcile(work: Work, row: MailboxRow, *, rebuilding: bool = False) -> int:
    """Compare files and rows of one mailbox inside a transaction; how many files are still to be taken in."""
    folder, cur = work.opened.folder(row), work.opened.cur(row)
    new = f"{folder}/new"
    work.touching(row)
    row.cur_mtime, row.new_mtime = mtime_of(cur), mtime_of(new)
    if time.time_ns() - row.new_mtime < _RACY_NANOSECONDS:
        row.new_mtime = 0
    stored = {state[4]: state for state in queries.states(work.connection, row, None)}
    files, strangers = _match(work, row, stored, rebuilding=rebuilding)
    missing = [state for stem, state in stored.items() if stem not in files]
    if missing:
        # a name that changes while the directory is read may not be told; twice is no chance any more
        again = {filenames.split(name)[0] for name in os.listdir(cur)}
        expunge.drop_rows(work, row, [state for state in missing if state[4] not in again])
    _take_flags(work, row, files, stored)
    arrived = [(new, name) for name in os.listdir(new) if not name.startswith(".")]
    if arrived:
        row.new_mtime = 0  # changes when we move them out; the next look sees it empty
    taken = _order(strangers) + _order(arrived)
    used = {state[0] - row.base for state in stored.values()} if rebuilding else set()
    for directory, name in taken[:ADOPT_LIMIT]:
        uid = filenames.uid_of(filenames.split(name)[0]) if rebuilding else None
        if uid in used:
            uid = None
        if adopt(work, row, directory, name, uid=uid) and uid:
            used.add(uid)
    left = max(0, len(taken) - ADOPT_LIMIT)
    work.scanned(row, clean=not left)
    return left


def open_or_drop(opened: OpenAccount, mailbox_id: int, uid: int) -> BinaryIO | None:
    """A reader found no file for a row: look once more with the account to ourselves, then the row goes, as if expunged.

    The file is there all the same when its mailbox was just being renamed; then it comes back open.
    """
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        found = queries.states(work.connection, row, [uid])
        cur = opened.cur(row)
        if not found or not os.path.isdir(cur):
            return None
        path = find_message(cur, found[0][4], found[0][3])
        if path is not None:
            return open(path, "rb", buffering=0)
        expunge.drop_rows(work, row, found)
        name = row.name
    opened.note_repair(f"the file of message {uid} in {name} was gone; it is no longer shown")
    return None


def take_changed(opened: OpenAccount, mailbox_id: int, uid: int) -> None:
    """A reader found a file of another size than its row says: it is another message now, under a new UID.

    Clients never ask again for what they know under a UID, and byte ranges of the old content would cut the new one.
    """
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        found = queries.states(work.connection, row, [uid])
        path = find_message(opened.cur(row), found[0][4], found[0][3]) if found else None
        if path is None or os.stat(path).st_size == found[0][2]:
            return
        work.touching(row)
        expunge.drop_rows(work, row, found)
        adopt(work, row, opened.cur(row), os.path.basename(path))
        name = row.name
    opened.note_repair(
        f"the file of message {uid} in {name} had another size than it came with; it is shown as a new one"
    )


def _match(
    work: Work, row: MailboxRow, stored: dict[str, State], *, rebuilding: bool
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """({stem: letters} of files with a row, files without)."""
    cur = work.opened.cur(row)
    files: dict[str, str] = {}
    unknown: list[str] = []
    for name in os.listdir(cur):
        stem, _, flag_letters = name.partition(":2,")
        if stem in stored and stem not in files:
            files[stem] = flag_letters
        elif not name.startswith("."):
            unknown.append(name)
    if not unknown:
        return files, []
    doomed = {stem: flags for _, stem, flags in queries.doomed(work.connection, row.mailbox_id)}
    expunged = _expunged(work, row, unknown)
    uid_reserved = 0 if rebuilding else _uid_reserved(work.opened, row)
    strangers = []
    for name in unknown:
        stem = filenames.split(name)[0]
        if stem in doomed:
            with suppress(OSError):
                remove_message(cur, stem, doomed[stem])
        elif stem in expunged:
            continue  # on its way to the retained ones
        elif _is_cut_off(work.opened, row, stem, uid_reserved) or filenames.is_cut_short(f"{cur}/{name}", stem):
            os.rename(f"{cur}/{name}", os.path.join(work.opened.folder(row), "tmp", name))
        else:
            strangers.append((cur, name))
    return files, strangers


def _expunged(work: Work, row: MailboxRow, names: list[str]) -> set[str]:
    """Stems of retained messages among these files; one that a power cut brought back is moved again."""
    uids = [filenames.uid_of(filenames.split(name)[0]) for name in names]
    found = retained_queries.retained_at(work.connection, [row.base + uid for uid in uids if uid])
    stems = {filenames.split(name)[0] for name in names}
    back = [each for each in found if each.stem in stems]
    retained_queries.set_places(work.connection, retained_queries.WAITING, [each.key for each in back])
    return {each.stem for each in back}


def _uid_reserved(opened: OpenAccount, row: MailboxRow) -> int:
    """Up to where a UID that the index does not know was never acknowledged.

    Raises `store.damaged` when the index is older than the tree (put back from a copy): only a rebuild keeps the UIDs
    that were given out since.
    """
    facts = read_mailbox(opened.folder(row))
    if facts is None:
        return 0
    # A process that was killed between raising the reservation and its commit left the index as it was before.
    before, uidnext = facts.reserved_before
    if row.uid_reserved == facts.uid_reserved or (row.uid_reserved == before and row.uidnext >= uidnext):
        return facts.uid_reserved
    raise StoreError("store.damaged", "an index is older than its files", temporary=True)


def _is_cut_off(opened: OpenAccount, row: MailboxRow, stem: str, uid_reserved: int) -> bool:
    """Whether a file without a row is a delivery of ours that was never acknowledged."""
    ours = filenames.delivered(stem)
    return ours is not None and (
        ours.mailbox_id == row.mailbox_id and ours.host == opened.host and row.uidnext <= ours.uid < uid_reserved
    )


def _take_flags(work: Work, row: MailboxRow, files: dict[str, str], stored: dict[str, State]) -> None:
    known: dict[str, int] = {}
    mask = keywords.mask(row)
    changed: list[tuple[int, int, int]] = []
    renamed: list[tuple[int, int]] = []
    for stem, flag_letters in files.items():
        in_name = known.get(flag_letters)
        if in_name is None:
            in_name = known[flag_letters] = filenames.flags_of(flag_letters)
        key, flags, _, name_flags, _ = stored[stem]
        if in_name == name_flags:
            continue
        renamed.append((in_name, key))
        theirs = in_name ^ name_flags
        merged = (flags & ~theirs | in_name & theirs) & mask  # what they changed since we wrote the name
        if merged != flags:
            changed.append((merged, 0, key))
            row.unseen_count += bool(flags & SystemFlag.SEEN) - bool(merged & SystemFlag.SEEN)
            row.deleted_count += bool(merged & SystemFlag.DELETED) - bool(flags & SystemFlag.DELETED)
    queries.update_name_flags(work.connection, renamed)
    if changed:
        modseq = work.next_modseq(row)
        queries.update_flags(work.connection, [(flags, modseq, key) for flags, _, key in changed])


def _order(files: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """By UID if the name has one, then by time: the order in which they get UIDs."""

    def place(file: tuple[str, str]) -> tuple[int, int, str]:
        stem = filenames.split(file[1])[0]
        return filenames.uid_of(stem) or 1 << 32, filenames.seconds_of(stem) or 0, stem

    return sorted(files, key=place)
