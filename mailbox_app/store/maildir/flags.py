"""Flag changes: committed in the index first; `write_names` brings the file names after."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from mailbox_app.ids import Modseq, Uid
from mailbox_app.store.maildir import keywords, queries
from mailbox_app.store.maildir.filenames import file_name
from mailbox_app.store.maildir.opened import OpenAccount, find_message
from mailbox_app.store.model import FlagMode, StoreResult, SystemFlag

NAMES_BATCH = 200
_SEEN, _DELETED = int(SystemFlag.SEEN), int(SystemFlag.DELETED)


def store_flags(
    opened: OpenAccount,
    mailbox_id: int,
    uids: Sequence[int],
    mode: FlagMode,
    flags: int,
    names: Sequence[str],
    unchanged_since: int | None,
) -> StoreResult:
    """Carry out `Account.store_flags`."""
    changed: list[tuple[int, int, int]] = []
    modified: list[Uid] = []
    flags = int(flags)  # the complement of an IntFlag has no keyword bits
    with opened.writing() as work:
        row = work.mailbox(mailbox_id)
        if mode is FlagMode.REMOVE:
            wanted = flags & 0x1F | keywords.known_bits(row, names)
        else:
            wanted = flags & 0x1F | keywords.bits(work, row, names)
        combine = _COMBINE[mode]
        base, unseen, deleted = row.base, 0, 0
        for key, old, modseq in queries.flag_rows(work.connection, row, uids):
            if unchanged_since is not None and modseq > unchanged_since:
                modified.append(Uid(key - base))
                continue
            new = combine(old, wanted)
            if new != old:
                changed.append((new, 0, key))
                unseen += (not new & _SEEN) - (not old & _SEEN)
                deleted += bool(new & _DELETED) - bool(old & _DELETED)
        if changed:
            modseq = work.next_modseq(row)
            changed = [(new, modseq, key) for new, _, key in changed]
            queries.update_flags(work.connection, changed)
            row.unseen_count += unseen
            row.deleted_count += deleted
    return StoreResult([(Uid(key - base), new, Modseq(modseq)) for new, modseq, key in changed], modified)


_COMBINE: dict[FlagMode, Callable[[int, int], int]] = {
    FlagMode.REPLACE: lambda old, wanted: wanted,
    FlagMode.ADD: lambda old, wanted: old | wanted,
    FlagMode.REMOVE: lambda old, wanted: old & ~wanted,
}


def write_names(opened: OpenAccount) -> bool:
    """Rename one batch of files to the flags their rows have; whether more wait.

    The commit need not reach the disk: if it is lost, the next look at the directory finds the new names.
    """
    with opened.db.reading() as connection:
        if not queries.pending_names(connection, 1):
            return False
    with opened.writing(durable=False) as work:
        pending = queries.pending_names(work.connection, NAMES_BATCH)
        written: list[tuple[int, int]] = []
        for mailbox_id, key, flags, name_flags, stem in pending:
            row = work.mailbox(mailbox_id)
            work.touching(row, new_names=False)
            cur = opened.cur(row)
            old, new = f"{cur}/{file_name(stem, name_flags)}", f"{cur}/{file_name(stem, flags)}"
            try:
                os.rename(old, new)
            except FileNotFoundError:
                found = find_message(cur, stem, name_flags)
                if found is None:
                    written.append((flags, key))  # gone: the next synchronisation drops its row
                # else another program renamed it: its letters are merged first
                else:
                    work.scanned(row, clean=False)
                    work.opened.scanned_at.pop(mailbox_id, None)
                continue
            work.undo.append(partial(os.rename, new, old))
            written.append((flags, key))
        queries.update_name_flags(work.connection, written)
    return len(pending) == NAMES_BATCH and bool(written)
