"""Comparing index and tree, file by file. Tells; changes nothing. Names that still follow their flags are fine."""

from __future__ import annotations

import os
import sqlite3

from mailbox_app.store.maildir import filenames, names, notes, queries, retained, retained_queries
from mailbox_app.store.maildir.metadata import read_account, read_mailbox
from mailbox_app.store.maildir.opened import OpenAccount, Work
from mailbox_app.store.maildir.queries import MailboxRow
from mailbox_app.store.model import SystemFlag


def check(opened: OpenAccount) -> list[str]:
    """One sentence for each difference, under the account's lock so that nothing moves meanwhile."""
    found: list[str] = []
    with opened.writing(durable=False) as work:
        found.extend(_check_database(work.connection))
        rows = queries.all_mailboxes(work.connection)
        for row in rows:
            found.extend(_check_mailbox(work, row))
        used = (sum(row.size_bytes for row in rows), sum(row.message_count for row in rows))
        counted = (work.account.used_bytes, work.account.used_messages)
        if used != counted:
            found.append(f"account: {counted} bytes and messages counted, its mailboxes hold {used}")
        found.extend(_check_retained(work))
        facts = read_account(opened.maildir)
        if facts is None:
            found.append("account: account.json is missing or unreadable")
        elif facts.next_mailbox_id < work.account.next_mailbox_id:
            found.append("account: account.json would give out mailbox ids again")
        known = {row.folder for row in rows}
        for name in sorted(os.listdir(opened.maildir)):
            if name.startswith(".") and name not in known and os.path.isdir(f"{opened.maildir}/{name}/cur"):
                reason = "not in the index" if names.name_of(name) else "its name is no valid mailbox name"
                found.append(f"folder {name!r}: {reason}")
    return found


def _check_database(connection: sqlite3.Connection) -> list[str]:
    answers = [str(answer) for (answer,) in connection.execute("PRAGMA quick_check(20)")]
    return [] if answers == ["ok"] else [f"index: {answer}" for answer in answers]


def _check_mailbox(work: Work, row: MailboxRow) -> list[str]:
    folder, cur = work.opened.folder(row), work.opened.cur(row)
    if not os.path.isdir(cur):
        return [f"{row.name}: its folder is missing"]
    problems = _check_facts(folder, row) + notes.differences(work, row)
    found = [f"{row.name}: {problem}" for problem in problems]
    states = {state[4]: state for state in queries.states(work.connection, row, None)}
    doomed = {stem for _, stem, _ in queries.doomed(work.connection, row.mailbox_id)}
    doomed |= retained_queries.waiting_stems(work.connection, row.mailbox_id)
    met: set[str] = set()
    for name in os.listdir(cur):
        stem, flag_letters = filenames.split(name)
        state = states.get(stem)
        if name.startswith(".") or stem in doomed:
            continue
        if state is None or stem in met:
            found.append(f"{row.name}: file {name!r} has no row")
            continue
        met.add(stem)
        if os.stat(f"{cur}/{name}").st_size != state[2]:
            found.append(f"{row.name}: file {name!r} is not {state[2]} bytes long")
        if filenames.flags_of(flag_letters) != state[3]:
            found.append(f"{row.name}: file {name!r} has other flags than were written")
    found.extend(f"{row.name}: UID {states[stem][0] - row.base} has no file" for stem in sorted(states.keys() - met))
    found.extend(f"{row.name}: file {name!r} waits in new" for name in os.listdir(f"{folder}/new"))
    counts = (
        len(states),
        sum(state[2] for state in states.values()),
        sum(not state[1] & SystemFlag.SEEN for state in states.values()),
        sum(bool(state[1] & SystemFlag.DELETED) for state in states.values()),
    )
    if counts != (row.message_count, row.size_bytes, row.unseen_count, row.deleted_count):
        found.append(f"{row.name}: its counters are not those of its messages")
    if any(state[0] - row.base >= row.uidnext for state in states.values()):
        found.append(f"{row.name}: a UID is not below UIDNEXT")
    rendered = queries.count_rendered(work.connection, row)
    if rendered != len(states):
        found.append(f"{row.name}: {len(states)} messages, but {rendered} rendered rows")
    return found


def _check_retained(work: Work) -> list[str]:
    found = []
    account = work.account
    counted, kept = (account.retained_bytes, account.retained_messages), retained_queries.sum_retained(work.connection)
    if counted != kept:
        found.append(f"account: {counted} retained bytes and messages counted, there are {kept}")
    rows, at = retained_queries.moved_after(work.connection, 0), 0
    while rows:
        at = rows[-1].key
        found.extend(
            f"expunged message {row.mailbox_id}-{row.uid} has no file"
            for row in rows
            if not os.path.exists(retained.path_of(work.opened, row))
        )
        rows = retained_queries.moved_after(work.connection, at)
    return found


def _check_facts(folder: str, row: MailboxRow) -> list[str]:
    facts = read_mailbox(folder)
    if facts is None:
        return ["mailbox.json is missing or unreadable"]
    found = []
    if (facts.mailbox_id, facts.uidvalidity) != (row.mailbox_id, row.uidvalidity):
        found.append("mailbox.json has another identity")
    if facts.uid_reserved < row.uidnext:
        found.append("mailbox.json reserves too few UIDs")
    if facts.keywords[: len(row.keyword_names)] != row.keyword_names:
        found.append("mailbox.json has other keywords")
    return found
