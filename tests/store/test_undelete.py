"""Expunged messages stay hidden for some days and come back whole."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.message import Rendered
from mailbox_app.store.interface import NewMessage
from mailbox_app.store.maildir import adopt, retained, sync
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import FlagMode, Restored, Retained, Retention, SystemFlag
from tests.support.store_place import MESSAGE, TRACE, Place, RecordingBus

SEEN, DELETED, FLAGGED = int(SystemFlag.SEEN), int(SystemFlag.DELETED), int(SystemFlag.FLAGGED)
SIZE = len(TRACE) + len(MESSAGE)
DAY = 86_400


def store_of(place: Place) -> MaildirStore:
    assert isinstance(place.store, MaildirStore)
    return place.store


def listed(place: Place, **more: object) -> list[Retained]:
    return list(place.account.retained(**more).messages)  # type: ignore[arg-type]


def expunged_files(place: Place) -> list[str]:
    folder = place.maildir.parent / retained.FOLDER
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and ",S=" in path.name)


def expunge_one(place: Place, body: bytes = MESSAGE, mailbox: str = "INBOX", flags: int = 0) -> int:
    done = place.deliver(mailbox, body, flags=flags | DELETED)
    place.account.expunge(place.id(mailbox), [done.uid])
    return done.uid


def restore_all(place: Place) -> list[Restored]:
    return list(place.account.restore([one.retained_id for one in listed(place)]))


def sound(place: Place) -> bool:
    store_of(place).flush_names()
    return list(place.store.check(place.ref)) == []


def test_expunged_message_comes_back_with_its_flags_keywords_and_date(place: Place) -> None:
    done = place.deliver(flags=SEEN | FLAGGED, keywords=("$Work",), internal_seconds=1_000_000_000)
    before = list(place.account.rendered(place.id(), [done.uid], ["envelope", "bodystructure", "header", "email_id"]))
    place.account.store_flags(place.id(), [done.uid], FlagMode.ADD, DELETED)
    place.account.expunge(place.id(), None)
    assert place.uids() == []
    assert place.account.usage() == (0, 0)
    assert place.account.retained_usage() == (SIZE, 1)
    (restored,) = restore_all(place)
    assert (restored.mailbox, restored.uid) == ("INBOX", 2)
    assert place.read(2) == TRACE + MESSAGE
    (message,) = place.account.messages(place.id(), [Uid(2)])
    assert (message.flags, message.internal_seconds) == (SEEN | FLAGGED | 1 << 8, 1_000_000_000)
    after = list(place.account.rendered(place.id(), [Uid(2)], ["envelope", "bodystructure", "header", "email_id"]))
    assert [row[1:] for row in after] == [row[1:] for row in before]
    assert place.account.usage() == (SIZE, 1)
    assert place.account.retained_usage() == (0, 0)
    assert listed(place) == []
    assert sound(place)


def test_files_leave_the_mailbox_in_the_background_and_come_back(place: Place) -> None:
    uid = expunge_one(place)
    store_of(place).flush_names()
    assert os.listdir(place.maildir / "cur") == []
    (name,) = expunged_files(place)
    assert f",U={uid},E={int(place.clock.epoch_seconds())}:2,T" in name
    assert sound(place)
    assert [one.uid for one in restore_all(place)] == [2]
    assert expunged_files(place) == []
    assert place.read(2) == TRACE + MESSAGE
    assert sound(place)


def test_expunged_message_is_shown_by_nothing(place: Place) -> None:
    done = place.deliver()
    uid = expunge_one(place)
    inbox = place.id()
    assert place.account.messages(inbox, [Uid(uid)]) == []
    assert list(place.account.rendered(inbox, [Uid(uid)], ["envelope"])) == []
    with pytest.raises(StoreError):
        place.account.open_message(inbox, Uid(uid))
    place.clock.skip(sync.SCAN_SECONDS)
    (place.maildir / "new" / "1.other.x").write_bytes(MESSAGE)  # the directory is read while the file is still there
    assert place.uids() == [done.uid, uid + 1]


def test_restored_twice_is_once(place: Place) -> None:
    expunge_one(place)
    ids = [one.retained_id for one in listed(place)]
    assert len(place.account.restore(ids)) == 1
    assert list(place.account.restore(ids)) == []
    assert len(place.uids()) == 1


def test_moved_messages_are_not_retained_at_their_source(place: Place) -> None:
    done = place.deliver()
    place.account.copy(place.id(), [done.uid], place.id("Trash"), move=True)
    place.account.rename("INBOX", "Old")
    assert listed(place) == []


def test_replaced_message_can_come_back(place: Place) -> None:
    done = place.deliver("Drafts")
    place.account.replace(place.id("Drafts"), done.uid, NewMessage(place.stage(b"Subject: 2\r\n\r\n"), "Drafts"))
    assert [one.mailbox for one in restore_all(place)] == ["Drafts"]
    assert sound(place)


@pytest.mark.parametrize("rebuilt", [False, True])
def test_deleted_mailbox_comes_back_under_its_name(place: Place, rebuilt: bool) -> None:
    box = place.account.create("Work/Entwürfe")
    place.account.append([NewMessage(place.stage(), box.mailbox_id, FLAGGED, ("$Work",))])
    place.account.append([NewMessage(place.stage(b"Subject: gone before\r\n\r\n"), box.mailbox_id, DELETED)])
    place.account.expunge(box.mailbox_id, None)
    place.account.delete("Work/Entwürfe")
    assert place.account.usage() == (0, 0)
    assert "Work/Entwürfe" not in [one.name for one in place.account.mailboxes()]
    if rebuilt:
        place.store.rebuild(place.ref)
    assert [(one.mailbox, one.uid) for one in listed(place)] == [("Work/Entwürfe", 2), ("Work/Entwürfe", 1)]
    restore_all(place)
    new = place.account.mailbox("Work/Entwürfe")
    assert new.mailbox_id != box.mailbox_id
    assert (new.message_count, new.keywords) == (2, ("$Work",))
    assert list(place.read(1, "Work/Entwürfe")) == list(TRACE + MESSAGE)
    assert sorted(os.listdir(place.maildir.parent / retained.FOLDER)) == []
    assert sound(place)


def test_deletion_cut_off_before_its_commit_leaves_the_mailbox(place: Place) -> None:
    box = place.account.create("Work")
    place.account.append([NewMessage(place.stage(), box.mailbox_id)])
    folder = place.maildir.parent / retained.FOLDER / str(box.mailbox_id)
    folder.mkdir(parents=True)
    (place.maildir / ".Work").rename(folder / retained.MAILBOX_FOLDER)
    assert place.account.mailbox("Work").message_count == 1
    assert place.read(1, "Work") == TRACE + MESSAGE


def test_rebuild_knows_what_was_expunged_and_brings_nothing_back(place: Place) -> None:
    expunge_one(place, b"Subject: first\r\n\r\n", flags=SEEN)
    store_of(place).flush_names()
    place.clock.skip(60)
    expunge_one(place, b"Subject: second\r\n\r\n")  # its file still lies in the mailbox
    before = listed(place)
    assert place.store.rebuild(place.ref) == 0
    assert place.uids() == []
    assert listed(place) == before
    assert place.account.retained_usage() == (2 * len(TRACE) + len(b"Subject: first\r\n\r\nSubject: second\r\n\r\n"), 2)
    assert sound(place)
    assert len(restore_all(place)) == 2
    assert place.deliver().uid > 4


def test_rebuild_reads_no_file_of_what_was_expunged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    expunge_one(place, b"Subject: first\r\n\r\n")
    expunge_one(place, b"From: Ann <ann@sender.example>\r\nSubject: second\r\n\r\nText\r\n")
    before = listed(place)
    read, read_file = [], adopt.read_file

    def noted(file: BinaryIO) -> tuple[Rendered, int, bool]:
        read.append(file)
        return read_file(file)

    monkeypatch.setattr(adopt, "read_file", noted)
    place.store.rebuild(place.ref)
    assert not read
    assert listed(place) == before
    assert [one.subject for one in place.account.retained(text="ANN@").messages] == ["second"]
    assert len(restore_all(place)) == 2
    assert len(read) == 2
    assert sound(place)
    found = place.account.rendered(place.id(), place.uids(), ["envelope"])
    assert [b"second" in bytes(one[-1]) for one in found] == [False, True]  # type: ignore[call-overload]


def test_file_brought_back_by_a_power_cut_is_moved_again(place: Place) -> None:
    expunge_one(place)
    store_of(place).flush_names()
    (moved,) = (path for path in (place.maildir.parent / retained.FOLDER).rglob("*,S=*"))
    stem = moved.name.partition(",E=")[0]
    moved.rename(place.maildir / "cur" / f"{stem}:2,T")
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.uids() == []
    store_of(place).close()
    place.store = MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=place.clock)
    place.account.usage()
    assert sound(place)
    assert moved.exists()


def test_message_whose_retained_file_is_gone_is_left_out(place: Place) -> None:
    expunge_one(place)
    expunge_one(place)
    store_of(place).flush_names()
    next((place.maildir.parent / retained.FOLDER).rglob("*,U=1,*")).unlink()
    assert [one.uid for one in restore_all(place)] == [3]
    assert place.account.retained_usage() == (0, 0)
    assert sound(place)


def test_restoring_needs_room_in_the_quota(place: Place) -> None:
    expunge_one(place)
    place.deliver()
    account = place.store.account(replace(place.ref, quota_bytes=2 * SIZE - 1))
    ids = [one.retained_id for one in listed(place)]
    with pytest.raises(StoreError) as caught:
        account.restore(ids)
    assert caught.value.code == "store.over_quota"
    assert len(listed(place)) == 1
    assert place.uids() == [2]
    assert len(place.store.account(replace(place.ref, quota_bytes=2 * SIZE)).restore(ids)) == 1


def purge(place: Place, quota_bytes: int = 0) -> None:
    store_of(place).flush_names()
    while store_of(place).purge(replace(place.ref, quota_bytes=quota_bytes)):
        pass


def test_what_is_too_old_is_removed_for_good(place: Place) -> None:
    expunge_one(place, b"Subject: old\r\n\r\n")
    place.clock.skip(13 * DAY)
    expunge_one(place, b"Subject: young\r\n\r\n", "Sent")
    purge(place)
    assert [one.subject for one in listed(place)] == ["young", "old"]
    place.clock.skip(DAY)
    purge(place)
    assert [one.subject for one in listed(place)] == ["young"]
    assert len(expunged_files(place)) == 1
    assert not (place.maildir.parent / retained.FOLDER / str(place.id())).exists()
    assert sound(place)
    place.clock.skip(14 * DAY)
    purge(place)
    assert (listed(place), place.account.retained_usage(), expunged_files(place)) == ([], (0, 0), [])
    assert not store_of(place).purge(place.ref)


def test_space_is_bounded_and_the_oldest_go_first(place: Place) -> None:
    store_of(place).retention = Retention(max_bytes=2 * SIZE)
    for _ in range(3):
        expunge_one(place)
        place.clock.skip(1)
    store_of(place).flush_names()  # no job is waited for
    assert [one.uid for one in listed(place)] == [3, 2]
    assert place.account.retained_usage() == (2 * SIZE, 2)
    purge(place, quota_bytes=2 * SIZE)
    assert [one.uid for one in listed(place)] == [3]
    assert sound(place)


def test_retention_of_no_days_removes_at_once_and_what_was_kept(place: Place) -> None:
    expunge_one(place)
    store_of(place).flush_names()
    store_of(place).retention = Retention(days=0)
    expunge_one(place)
    assert os.listdir(place.maildir / "cur") == []
    assert len(listed(place)) == 1
    purge(place)
    assert (listed(place), expunged_files(place)) == ([], [])
    box = place.account.create("Work")
    place.account.append([NewMessage(place.stage(), box.mailbox_id)])
    place.account.delete("Work")
    assert listed(place) == []
    assert sound(place)


def test_listing_filters_and_pages(place: Place) -> None:
    for number in range(7):
        expunge_one(
            place, f"From: =?utf-8?q?B=C3=B6b?= <b{number}@example.org>\r\nSubject: No {number}\r\n\r\n".encode()
        )
        place.clock.skip(10)
    expunge_one(place, b"From: carol@example.org\r\nSubject: other\r\n\r\n", "Sent")
    assert [one.subject for one in listed(place, mailbox="Sent")] == ["other"]
    assert len(listed(place, mailbox="inbox")) == 7
    assert [one.subject for one in listed(place, text="NO 3")] == ["No 3"]
    assert len(listed(place, text="bÖb")) == 7
    assert len(listed(place, since_seconds=int(place.clock.epoch_seconds()) - 10)) == 2
    assert listed(place, mailbox="Nowhere") == []
    found, at = [], None
    while True:
        page = place.account.retained(limit=3, before=at)
        found += [one.subject for one in page.messages]
        if page.next is None:
            break
        at = page.next
    assert found == ["other", *(f"No {number}" for number in range(6, -1, -1))]


def test_no_space_lost_when_the_folder_of_the_expunged_is_removed_by_hand(place: Place) -> None:
    expunge_one(place)
    store_of(place).flush_names()
    shutil.rmtree(place.maildir.parent / retained.FOLDER)
    assert restore_all(place) == []
    assert place.account.retained_usage() == (0, 0)
    expunge_one(place)
    assert len(restore_all(place)) == 1
    assert sound(place)


def test_expunge_of_thousands_moves_and_restores_them_all(place: Place, tmp_path: Path) -> None:
    place.account.append([NewMessage(place.stage(), "INBOX", DELETED * (number % 2)) for number in range(600)])
    gone = place.account.expunge(place.id(), [Uid(uid) for uid in range(1, 500)])
    assert list(gone) == list(range(2, 500, 2))
    store_of(place).flush_names()
    assert len(expunged_files(place)) == len(gone)
    page = place.account.retained(limit=1000)
    assert len(place.account.restore([one.retained_id for one in page.messages])) == len(gone)
    assert place.account.mailbox("INBOX").message_count == 600
    assert sound(place)


def test_move_whose_commit_a_power_cut_took_loses_nothing(place: Place) -> None:
    done = place.deliver(flags=DELETED)
    (path,) = (place.maildir / "cur").iterdir()
    place.account.expunge(place.id(), None)
    folder = place.maildir.parent / retained.FOLDER / str(done.mailbox_id)
    folder.mkdir(parents=True, exist_ok=True)
    moved = folder / path.name.replace(":2,", f",E={int(place.clock.epoch_seconds())}:2,")
    if path.exists():
        path.rename(moved)
    assert len(restore_all(place)) == 1
    assert place.read(2) == TRACE + MESSAGE


def test_nothing_is_kept_when_the_disk_is_nearly_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    expunge_one(place)
    store_of(place).flush_names()
    assert len(listed(place)) == 1
    facts = os.statvfs(place.data_dir)
    tight = os.statvfs_result((*facts[:4], int(facts.f_blocks * 0.01), *facts[5:]))
    monkeypatch.setattr("mailbox_app.store.maildir.retained.os.statvfs", lambda path: tight)
    expunge_one(place)
    store_of(place).flush_names()
    assert (listed(place), expunged_files(place)) == ([], [])
    assert sound(place)


@pytest.mark.parametrize("way", ["restore", "purge"])
def test_emptied_folder_goes_before_anybody_can_put_a_message_there(
    place: Place, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    expunge_one(place)
    store_of(place).flush_names()
    removed: list[bool] = []
    plain = shutil.rmtree

    def watched(path: str, ignore_errors: bool = False) -> None:
        removed.append(store_of(place)._handles.get(place.ref).lock._thread_lock.locked())
        plain(path, ignore_errors=ignore_errors)

    monkeypatch.setattr("mailbox_app.store.maildir.opened.shutil.rmtree", watched)
    if way == "restore":
        restore_all(place)
    else:
        place.clock.skip(15 * DAY)
        purge(place)
    assert removed == [True]
    assert list((place.maildir.parent / retained.FOLDER).iterdir()) == []
