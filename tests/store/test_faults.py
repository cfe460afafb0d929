"""Local trouble is temporary, changes nothing, and goes by itself."""

from __future__ import annotations

import errno
import itertools
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import Modseq, Uid
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir import files, opened, sync
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended, FlagMode, SystemFlag
from tests.support.store_place import MESSAGE, TRACE, Place, RecordingBus, snapshot

SEEN, DELETED = int(SystemFlag.SEEN), int(SystemFlag.DELETED)


def tree(place: Place) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), place.maildir)
        for folder, _, names in os.walk(place.maildir)
        for name in names
        if name not in {"mailbox.json", "account.json"}
    )


def refuse(number: int) -> object:
    def call(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_full_disk_while_staging_is_temporary_and_leaves_no_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    place.account.usage()
    monkeypatch.setattr("mailbox_app.store.maildir.staging.os.fsync", refuse(number))
    with pytest.raises(StoreError) as caught:
        place.stage()
    monkeypatch.undo()
    assert (caught.value.code, caught.value.temporary) == ("store.full", True)
    assert os.listdir(place.maildir / "tmp") == []
    assert place.deliver().uid == 1


STEPS = {
    "directory fsync": "mailbox_app.store.maildir.opened.fsync_directory",
    "reservation": "mailbox_app.store.maildir.metadata.write_durably",
    "rows": "mailbox_app.store.maildir.queries.insert_messages",
    "counts": "mailbox_app.store.maildir.queries.save_account",
}


@pytest.mark.parametrize("step", STEPS)
def test_append_that_breaks_at_any_step_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step != "reservation":
        place.deliver()
    rows, before = place.uids(), tree(place)
    monkeypatch.setattr(STEPS[step], refuse(errno.ENOSPC))
    staged = [place.stage() for _ in range(2)]
    results: list[object] = []
    try:
        results += place.account.append([NewMessage(one, "INBOX") for one in staged])
    except StoreError as error:
        results.append(error)
    monkeypatch.undo()
    assert all(isinstance(result, StoreError) and result.temporary for result in results)
    assert tree(place) == before
    assert place.uids() == rows
    assert place.deliver().uid == len(rows) + 1
    assert list(place.store.check(place.ref)) == []


class FailingCommit:
    """A connection whose COMMIT fails as a full disk makes it fail."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *parameters: Any) -> object:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def failing_commits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(place.store, MaildirStore)
    database = place.store._handles.get(place.ref).db
    monkeypatch.setattr(database, "_writer", FailingCommit(database._writer))


def test_failed_commit_puts_every_file_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver()
    place.deliver(flags=DELETED)
    work = place.account.create("Work/A")
    inbox, trash = place.id(), place.id("Trash")
    before, boxes, usage = tree(place), place.account.mailboxes(), place.account.usage()
    staged = place.stage()
    failing_commits(place, monkeypatch)
    account = place.account
    for call in (
        lambda: account.append([NewMessage(staged, "INBOX")]),
        lambda: account.copy(inbox, [Uid(1)], trash),
        lambda: account.copy(inbox, [Uid(1)], trash, move=True),
        lambda: account.expunge(inbox, None),
        lambda: account.store_flags(inbox, [Uid(1)], FlagMode.ADD, SEEN),
        lambda: account.create("New/B"),
        lambda: account.rename("Work", "Play"),
        lambda: account.rename("INBOX", "Old"),
        lambda: account.delete("Work/A"),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert (caught.value.code, caught.value.temporary) == ("store.full", True)
    monkeypatch.undo()
    place.bus.topics.clear()
    assert tree(place) == before
    assert place.account.mailboxes() == boxes
    assert place.account.usage() == usage
    assert list(place.store.check(place.ref)) == []
    assert place.account.mailbox("Work/A").mailbox_id == work.mailbox_id


def test_what_is_there_can_be_read_while_nothing_can_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver()
    (place.maildir / "new" / "1.foreign").write_bytes(MESSAGE)
    (place.maildir / ".Foreign" / "cur").mkdir(parents=True)
    failing_commits(place, monkeypatch)
    account, inbox = place.account, place.id()
    assert {box.name for box in account.mailboxes()} >= {"INBOX", "Trash"}
    assert account.mailbox("INBOX").message_count == 1
    assert list(snapshot(account, inbox).uids) == [1]
    assert [uid for uid, _, _ in account.changes(inbox, Modseq(0)).changed] == [1]
    assert [account.claim_recent(inbox), account.claim_recent(inbox)] == [1, 1]
    monkeypatch.undo()
    place.clock.skip(2)
    assert account.mailbox("INBOX").message_count == 2
    assert account.mailbox("Foreign").message_count == 0
    assert [account.claim_recent(inbox), account.claim_recent(inbox)] == [1, 3]


def test_lock_that_is_not_had_in_time_is_busy(place: Place) -> None:
    assert isinstance(place.store, MaildirStore)
    lock = place.store._handles.get(place.ref).lock
    lock._busy_seconds = 0.01
    other = MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=place.clock)
    held = other._handles.get(place.ref)
    staged = place.stage()
    with held.lock, pytest.raises(StoreError) as caught:
        place.account.append([NewMessage(staged, "INBOX")])
    assert (caught.value.code, caught.value.temporary) == ("store.busy", True)
    other.close()
    assert isinstance(place.deliver(), Appended)


@pytest.mark.parametrize("damage", ["header", "middle", "gone", "empty"])
def test_damaged_index_is_rebuilt_from_the_tree(place: Place, damage: str) -> None:
    for _ in range(30):
        place.deliver(flags=SEEN)
    boxes = [(box.mailbox_id, box.name, box.uidvalidity, box.message_count) for box in place.account.mailboxes()]
    place.store.close()  # type: ignore[attr-defined]
    index = place.data_dir / "mail/example.org/alice/index.db"
    data = index.read_bytes()
    if damage == "gone":
        index.unlink()
    else:
        broken = {"header": b"x" * 100 + data[100:], "middle": data[:4096] + b"\xff" * (len(data) - 4096), "empty": b""}
        index.write_bytes(broken[damage])
    place.store = MaildirStore(place.data_dir, place.bus, hostname="mx.example.org", clock=place.clock)
    after: object = None
    for _ in range(3):  # damage met in the middle of a call is repaired, but that call fails
        try:
            after = [
                (box.mailbox_id, box.name, box.uidvalidity, box.message_count) for box in place.account.mailboxes()
            ]
            assert place.uids() == list(range(1, 31))
        except StoreError as error:
            assert error.temporary  # noqa: PT017 - allowed, not required
    assert after == boxes
    assert place.read(7) == TRACE + MESSAGE
    assert list(place.store.check(place.ref)) == []


def test_index_rebuilt_by_another_process_is_noticed(place: Place) -> None:
    place.deliver()
    since = place.account.mailbox("INBOX").highest_modseq
    other = MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=place.clock)
    other.rebuild(place.ref)
    changes = place.account.changes(place.id(), since)
    assert [uid for uid, _, _ in changes.changed] == [1]
    done = place.deliver()
    assert list(snapshot(other.account(place.ref), place.id()).uids) == [1, done.uid]
    other.close()
    assert place.uids() == [1, done.uid]


def test_handles_are_bounded_and_evicted_ones_reopen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from mailbox_app.ids import AccountId

    monkeypatch.setattr("mailbox_app.store.maildir.handles._KEPT", 2)
    refs = [replace(place.ref, account_id=AccountId(number), localpart=f"u{number}") for number in range(5)]
    for _ in range(2):
        for ref in refs:
            place.store.account(ref).usage()
    assert isinstance(place.store, MaildirStore)
    assert len(place.store._handles._open) == 2


def test_vanished_staged_file_fails_alone(place: Place) -> None:
    gone, there = place.stage(), place.stage()
    Path(gone.path).unlink()
    results = place.account.append([NewMessage(gone, "INBOX"), NewMessage(there, "INBOX")])
    assert isinstance(results[0], StoreError)
    assert results[0].temporary
    assert isinstance(results[1], Appended)
    assert results[1].uid == 1


def test_expunge_log_is_bounded_and_old_askers_get_everything(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.store.maildir.queries._EXPUNGED_KEPT", 3)
    for _ in range(6):
        place.deliver(flags=DELETED)
    place.deliver()
    since = place.account.mailbox("INBOX").highest_modseq
    for uid in range(1, 7):
        place.account.expunge(place.id(), [Uid(uid)])
    changes = place.account.changes(place.id(), since)
    assert list(changes.expunged) == [1, 2, 3, 4, 5, 6]
    assert [uid for uid, _, _ in changes.changed] == [7]
    assert list(place.account.changes(place.id(), Modseq(changes.highest_modseq - 1)).expunged) == [6]


def test_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_durably(str(tmp_path), "x", b"old")
    monkeypatch.setattr(files.os, "fsync", refuse(errno.EIO))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="Input/output"):
        files.write_durably(str(tmp_path), "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "writev", lambda fd, pieces: os.write(fd, b"".join(pieces)[:3]))  # type: ignore[attr-defined]
    with (tmp_path / "x").open("wb") as file:
        assert files.write_all(file.fileno(), [b"ab", b"cdef"]) == 6
    assert (tmp_path / "x").read_bytes() == b"abcdef"


def test_scan_is_rate_limited(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_RACY_NANOSECONDS", 0)  # this test is faster than a kernel's tick
    place.deliver()
    place.uids()
    scans: list[object] = []
    real = sync.reconcile
    monkeypatch.setattr(sync, "reconcile", lambda work, row, **more: scans.append(row) or real(work, row, **more))  # type: ignore[func-returns-value]
    place.clock.skip(sync.SCAN_SECONDS)
    for number in range(5):
        (place.maildir / "cur" / f"x{number}").touch()
        (place.maildir / "cur" / f"x{number}").unlink()
        place.uids()
    assert len(scans) == 1
    assert opened.LOCK_FILE == "index.lock"


def test_a_file_that_cannot_be_made_durable_is_no_message(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver()
    before = tree(place)
    fsync, calls = files.fsync_file, itertools.count()

    def second_fails(path: str) -> None:
        if next(calls) == 1:
            raise OSError(errno.EIO, "made for a test")
        fsync(path)

    content = Content(b"", MESSAGE, len(MESSAGE))
    staged = [place.store.stage(place.ref, content, synced=False) for _ in range(4)]
    monkeypatch.setattr("mailbox_app.store.maildir.opened.fsync_file", second_fails)
    with pytest.raises(StoreError) as caught:
        place.account.append([NewMessage(one, "INBOX") for one in staged], atomic=True)
    monkeypatch.undo()
    assert (caught.value.code, caught.value.temporary) == ("store.full", True)
    assert tree(place) == before
    assert place.deliver().uid == 2
    assert list(place.store.check(place.ref)) == []
