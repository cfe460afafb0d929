"""Other programs on the same tree, and what a killed process leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir import opened, sync
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended, FlagMode, SystemFlag
from tests.support.store_place import MESSAGE, TRACE, Place, RecordingBus, snapshot

SEEN, DELETED, FLAGGED = int(SystemFlag.SEEN), int(SystemFlag.DELETED), int(SystemFlag.FLAGGED)


def names_in(place: Place, folder: str = "cur") -> list[str]:
    return sorted(os.listdir(place.maildir / folder))


def only_file(place: Place) -> Path:
    (name,) = names_in(place)
    return place.maildir / "cur" / name


def flush(place: Place) -> None:
    assert isinstance(place.store, MaildirStore)
    place.store.flush_names()


def second_store(place: Place) -> MaildirStore:
    """As another process sees it."""
    return MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=place.clock)


# other programs


def test_file_in_new_appears_with_a_uid_in_its_name(place: Place) -> None:
    place.deliver()
    (place.maildir / "new" / "1600000000.abc.other").write_bytes(MESSAGE)
    os.utime(place.maildir / "new" / "1600000000.abc.other", (1_500_000_000, 1_500_000_000))
    place.bus.topics.clear()
    assert place.uids() == [1, 2]
    assert place.bus.topics == ["account:7"]
    assert place.read(2) == MESSAGE
    assert place.account.messages(place.id(), [Uid(2)])[0].internal_seconds == 1_500_000_000
    assert [name for name in names_in(place) if ",U=2:2," in name] == [f"1600000000.abc.other,S={len(MESSAGE)},U=2:2,"]
    assert names_in(place, "new") == []


def test_foreign_file_with_bare_lf_is_stored_with_crlf(place: Place) -> None:
    place.uids()
    (place.maildir / "cur" / "1.x.other:2,FS").write_bytes(b"Subject: x\n\nline\r\nnext\n")
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.uids() == [1]
    assert place.read(1) == b"Subject: x\r\n\r\nline\r\nnext\r\n"
    message = place.account.messages(place.id(), [Uid(1)])[0]
    assert (message.flags, message.size_bytes) == (SEEN | FLAGGED, 26)
    assert len(names_in(place)) == 1
    assert list(place.store.check(place.ref)) == []


def test_crlf_split_between_two_reads_stays_one_line_end(place: Place) -> None:
    body = b"Subject: x\n\n" + b"x" * (262_144 - 13) + b"\r\nend\n"
    place.uids()
    (place.maildir / "new" / "1.x.other").write_bytes(body)
    assert place.uids() == [1]
    assert place.read(1) == b"Subject: x\r\n\r\n" + b"x" * (262_144 - 13) + b"\r\nend\r\n"


def test_foreign_flag_letters_become_flags(place: Place) -> None:
    place.deliver(flags=FLAGGED)
    since = place.account.mailbox("INBOX").highest_modseq
    path = only_file(place)
    path.rename(str(path).replace(":2,F", ":2,RS"))
    place.clock.skip(sync.SCAN_SECONDS)
    changes = place.account.changes(place.id(), since)
    assert [(uid, flags) for uid, flags, _ in changes.changed] == [(1, SEEN | SystemFlag.ANSWERED)]
    assert place.account.mailbox("INBOX").unseen_count == 0


def test_foreign_and_own_flag_changes_are_merged(place: Place) -> None:
    place.deliver(flags=FLAGGED)
    place.account.store_flags(place.id(), [Uid(1)], FlagMode.ADD, DELETED)
    path = only_file(place)
    if path.name.endswith(":2,F"):  # our own name has not followed yet
        path.rename(str(path) + "S")
        place.clock.skip(sync.SCAN_SECONDS)
        assert list(snapshot(place.account, place.id()).flags) == [FLAGGED | DELETED | SEEN]


def test_file_removed_by_another_program_is_expunged(place: Place) -> None:
    place.deliver()
    place.deliver()
    since = place.account.mailbox("INBOX").highest_modseq
    (place.maildir / "cur" / names_in(place)[0]).unlink()
    place.clock.skip(sync.SCAN_SECONDS)
    changes = place.account.changes(place.id(), since)
    assert len(changes.expunged) == 1
    assert place.account.usage() == (len(TRACE) + len(MESSAGE), 1)


def test_file_moved_by_another_program_keeps_its_content_and_gets_a_new_uid(place: Place) -> None:
    place.deliver()
    place.uids("Trash")
    path = only_file(place)
    path.rename(place.maildir / ".Trash" / "cur" / path.name)
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.uids() == []
    (uid,) = place.uids("Trash")
    assert place.read(uid, "Trash") == TRACE + MESSAGE
    assert list(place.store.check(place.ref)) == []


def test_open_message_finds_a_file_renamed_meanwhile(place: Place) -> None:
    place.deliver()
    path = only_file(place)
    inbox = place.id()
    path.rename(str(path) + "S")
    with place.account.open_message(inbox, Uid(1)) as file:
        assert file.read() == TRACE + MESSAGE


def test_links_and_folders_in_cur_are_passed_over(place: Place) -> None:
    place.uids()
    (place.maildir / "cur" / "1.link.x:2,").symlink_to("/etc/passwd")
    (place.maildir / "cur" / "2.dir.x:2,").mkdir()
    os.mkfifo(place.maildir / "cur" / "3.fifo.x:2,")
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.uids() == []


def test_foreign_folder_is_a_mailbox_and_a_removed_one_is_none(place: Place) -> None:
    place.account.mailboxes()
    for part in ("cur", "new", "tmp"):
        (place.maildir / ".Entw&APw-rfe.x" / part).mkdir(parents=True)
    (place.maildir / ".Entw&APw-rfe.x" / "new" / "1.x.y").write_bytes(MESSAGE)
    assert "Entwürfe/x" in [box.name for box in place.account.mailboxes()]
    assert place.uids("Entwürfe/x") == [1]
    shutil.rmtree(place.maildir / ".Entw&APw-rfe.x")
    assert "Entwürfe/x" not in [box.name for box in place.account.mailboxes()]
    assert place.account.usage() == (0, 0)


def test_folder_renamed_by_hand_keeps_its_identity(place: Place) -> None:
    box = place.account.create("Work")
    (place.maildir / ".Work").rename(place.maildir / ".Play")
    assert place.account.mailbox("Play").mailbox_id == box.mailbox_id


def test_listing_reads_no_directory_when_only_we_changed_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_RACY_NANOSECONDS", 0)  # this test is faster than a kernel's tick
    place.uids()
    place.uids("Trash")
    for _ in range(3):
        place.deliver()
    place.account.store_flags(place.id(), [Uid(1), Uid(2)], FlagMode.ADD, DELETED)
    place.account.expunge(place.id(), [Uid(1)])
    place.account.copy(place.id(), [Uid(2)], place.id("Trash"), move=True)
    flush(place)
    place.clock.skip(sync.SCAN_SECONDS)

    def refuse(path: str) -> list[str]:
        raise AssertionError(path)

    monkeypatch.setattr(sync.os, "listdir", refuse)  # type: ignore[attr-defined]
    assert place.uids() == [3]
    assert place.uids("Trash") == [1]
    other = second_store(place)
    assert list(snapshot(other.account(place.ref), place.id()).uids) == [3]
    other.close()


# file names follow


def test_file_names_follow_flags_and_keywords(place: Place) -> None:
    place.deliver()
    place.account.store_flags(place.id(), [Uid(1)], FlagMode.ADD, SEEN | DELETED, ["First", "Second"])
    flush(place)
    assert names_in(place)[0].endswith(":2,STab")


def test_names_left_behind_by_a_kill_follow_after_the_next_opening(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(place.store, MaildirStore)
    monkeypatch.setattr(place.store._follower, "follow", lambda ref: None)
    place.deliver()
    place.account.store_flags(place.id(), [Uid(1)], FlagMode.ADD, SEEN)
    assert names_in(place)[0].endswith(":2,")
    other = second_store(place)
    other.account(place.ref).usage()
    other.close()  # finishes what waits
    assert names_in(place)[0].endswith(":2,S")


# killed processes


def test_cut_off_delivery_is_never_seen_and_takes_no_uid(place: Place) -> None:
    done = place.deliver()
    name = names_in(place)[0]
    orphan = name.replace("Q", "Q9").replace(f"U={done.uid}:", f"U={done.uid + 1}:")
    (place.maildir / "cur" / orphan).write_bytes(MESSAGE)
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.deliver().uid == done.uid + 1
    assert place.uids() == [done.uid, done.uid + 1]
    assert orphan in names_in(place, "tmp")
    assert list(place.store.check(place.ref)) == []


def test_old_leftovers_in_tmp_go_at_the_next_opening_and_young_ones_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.stage()
    other = second_store(place)
    other.account(place.ref).usage()
    other.close()
    assert len(names_in(place, "tmp")) == 1
    monkeypatch.setattr("mailbox_app.store.maildir.handles._STAGED_SECONDS", -1)
    other = second_store(place)
    other.account(place.ref).usage()
    other.close()
    assert names_in(place, "tmp") == []


def test_expunged_file_that_was_not_unlinked_stays_expunged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.deliver(flags=DELETED)
    name = names_in(place)[0]

    def killed(opened: object, work: object) -> None:
        """As if the process died between the commit and the unlink."""

    monkeypatch.setattr("mailbox_app.store.maildir.opened.OpenAccount.bury", killed)
    place.account.expunge(place.id(), None)
    monkeypatch.undo()
    assert names_in(place) == [name]
    place.clock.skip(sync.SCAN_SECONDS)
    assert place.uids() == []
    assert list(place.store.check(place.ref)) == []
    other = second_store(place)
    assert list(snapshot(other.account(place.ref), place.id()).uids) == []
    other.close()
    assert names_in(place) == []


def test_rename_cut_off_halfway_loses_no_mailbox(place: Place) -> None:
    box = place.account.create("A/B")
    place.account.append([NewMessage(place.stage(), box.mailbox_id)])
    (place.maildir / ".A").rename(place.maildir / ".X")  # killed before the child followed and the rows committed
    names = [one.name for one in place.account.mailboxes()]
    assert {"X", "A/B"} <= set(names)
    assert place.uids("A/B") == [1]


def test_deleted_folder_left_by_a_kill_is_removed_at_the_next_listing(place: Place) -> None:
    place.account.create("A")
    (place.maildir / ".A").rename(place.maildir / "deleted.9.1")
    assert "A" not in [box.name for box in place.account.mailboxes()]
    assert not (place.maildir / "deleted.9.1").exists()


def test_account_cut_off_while_it_was_made_is_made_again(place: Place) -> None:
    (place.maildir / "cur").mkdir(parents=True)
    (place.maildir / ".Sent" / "cur").mkdir(parents=True)
    assert [box.name for box in place.account.mailboxes()][:2] == ["INBOX", "Archive"]
    assert isinstance(place.deliver(), Appended)


def test_missing_mailbox_file_gives_a_new_identity(place: Place) -> None:
    place.deliver("Sent")
    before = place.account.mailbox("Sent")
    (place.maildir / ".Sent" / "mailbox.json").write_text("{")
    place.store.rebuild(place.ref)
    after = place.account.mailbox("Sent")
    assert after.mailbox_id != before.mailbox_id
    assert after.uidvalidity > before.uidvalidity
    assert place.read(1, "Sent") == TRACE + MESSAGE


def test_lost_last_message_does_not_bring_its_uid_back(place: Place) -> None:
    place.deliver(flags=DELETED)
    place.account.expunge(place.id(), None)
    place.store.rebuild(place.ref)
    assert place.deliver().uid > 1


def test_two_files_with_one_uid_get_two(place: Place) -> None:
    place.deliver()
    name = names_in(place)[0]
    (place.maildir / "cur" / name.replace("Q", "Q7")).write_bytes(TRACE + MESSAGE)
    place.store.rebuild(place.ref)
    assert len(place.uids()) == 2
    with pytest.raises(StoreError):
        place.read(77)
    assert list(place.store.check(place.ref)) == []


def test_removed_account_is_not_made_anew_by_names_that_wait(place: Place) -> None:
    place.deliver()
    place.account.store_flags(place.id(), [Uid(1)], FlagMode.ADD, SEEN)
    place.store.remove_account(place.ref)
    flush(place)
    assert not place.maildir.exists()


def test_foreign_folders_do_not_take_the_ids_of_ours(place: Place) -> None:
    work = place.account.create("Work")
    for part in ("cur", "new", "tmp"):
        (place.maildir / ".AAA" / part).mkdir(parents=True)
    (place.maildir / "account.json").unlink()
    place.store.rebuild(place.ref)
    assert place.account.mailbox("Work").mailbox_id == work.mailbox_id
    assert place.account.mailbox("AAA").mailbox_id > work.mailbox_id


def test_old_cut_off_delivery_goes_from_the_tmp_of_any_folder(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.account.usage()
    (place.maildir / ".Sent" / "tmp" / "old").touch()
    monkeypatch.setattr("mailbox_app.store.maildir.handles._STAGED_SECONDS", -1)
    other = second_store(place)
    other.account(place.ref).usage()
    other.close()
    assert names_in(place, ".Sent/tmp") == []


def test_delivery_makes_a_folder_anew_that_another_program_removed(place: Place) -> None:
    place.deliver("Junk")
    shutil.rmtree(place.maildir / ".Junk")
    place.deliver("Junk")
    assert place.account.mailbox("Junk").message_count == 1
    assert place.account.usage() == (len(TRACE) + len(MESSAGE), 1)
    assert list(place.store.check(place.ref)) == []


def killed_before_the_commit(place: Place, monkeypatch: pytest.MonkeyPatch, *messages: NewMessage) -> None:
    """As if the process died when files were in their places and the rows not committed."""
    assert isinstance(place.store, MaildirStore)
    database = place.store._handles.get(place.ref).db

    def refuse(*_: object) -> None:
        raise StoreError("store.full", "no commit", temporary=True)

    with monkeypatch.context() as patched:
        patched.setattr("mailbox_app.store.maildir.opened.Work.revert", lambda work: None)
        patched.setattr("mailbox_app.store.maildir.queries.save_account", refuse)
        with pytest.raises(StoreError):
            place.account.append(messages)
    assert not database._writer.in_transaction


def test_delivery_cut_off_while_it_reserved_uids_is_never_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.uids()
    killed_before_the_commit(place, monkeypatch, NewMessage(place.stage(), "INBOX"))  # the first UID reserves a block
    assert len(names_in(place)) == 1
    other = second_store(place)
    account = other.account(place.ref)
    assert account.mailbox("INBOX").message_count == 0
    assert len(names_in(place, "tmp")) == 1
    other.close()
    assert place.deliver().uid == 1
    assert list(place.store.check(place.ref)) == []


def test_keyword_new_in_the_cut_off_batch_does_not_hide_that(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.uids()
    killed_before_the_commit(
        place,
        monkeypatch,
        NewMessage(place.stage(), "INBOX"),
        NewMessage(place.stage(), "INBOX", keywords=("$New",)),
    )
    other = second_store(place)
    assert other.account(place.ref).mailbox("INBOX").message_count == 0
    other.close()


def test_index_older_than_the_tree_takes_its_messages_in(place: Place) -> None:
    assert isinstance(place.store, MaildirStore)
    place.deliver()
    place.store.close()
    saved = (place.data_dir / "mail/example.org/alice/index.db").read_bytes()
    place.store = second_store(place)
    inbox = place.id()
    texts = [NewMessage(place.stage(), inbox) for _ in range(1_100)]
    assert all(isinstance(one, Appended) for one in place.account.append(texts))
    place.store.close()
    (place.data_dir / "mail/example.org/alice/index.db").write_bytes(saved)
    place.store = second_store(place)
    place.clock.skip(sync.SCAN_SECONDS)
    with pytest.raises(StoreError) as caught:
        place.uids()
    assert (caught.value.code, caught.value.temporary) == ("store.damaged", True)
    assert place.uids() == list(range(1, 1_102))


def test_file_that_a_power_cut_left_short_is_set_aside_by_a_rebuild(place: Place) -> None:
    place.deliver()
    place.deliver()
    short = place.maildir / "cur" / names_in(place)[1]
    uid = int(short.name.partition(",U=")[2].partition(":")[0])
    short.write_bytes(b"")
    assert place.store.rebuild(place.ref) == 1
    assert place.uids() == [3 - uid]
    assert short.name in names_in(place, "tmp")


def copied_in(place: Place, folder: str, *files: str, **more: bytes) -> None:
    for part in ("cur", "new", "tmp"):
        (place.maildir / folder / part).mkdir(parents=True)
    for name in files:
        (place.maildir / folder / "cur" / name).write_bytes(MESSAGE)
    for name, data in more.items():
        (place.maildir / folder / name.replace("_", "-")).write_bytes(data)


def test_folder_copied_in_from_dovecot_keeps_its_keywords(place: Place) -> None:
    place.account.mailboxes()
    copied_in(
        place,
        ".Archive.2020.May",
        "1500000000.M1P1.other,S=78,W=80:2,Sa",
        "1500000001.M1P1.other:2,ac",
        dovecot_keywords=b"0 $Forwarded\n2 NonJunk\nnonsense\n99 Far\n1 bad(name\n",
    )
    assert "Archive/2020/May" in [box.name for box in place.account.mailboxes()]
    box = place.account.mailbox("Archive/2020/May")
    assert (box.message_count, box.keywords) == (2, ("$Forwarded", "$Keyword1", "NonJunk"))
    assert snapshot(place.account, box.mailbox_id).flags == [SEEN | 1 << 8, 1 << 8 | 1 << 10]
    assert place.store.rebuild(place.ref) == 2
    assert place.account.mailbox("Archive/2020/May").keywords == box.keywords


def test_copy_of_one_of_our_folders_is_another_mailbox_with_its_keywords(place: Place) -> None:
    box = place.account.create("Work")
    place.account.append([NewMessage(place.stage(), box.mailbox_id, FLAGGED, ("$One", "$Two"))])
    shutil.copytree(place.maildir / ".Work", place.maildir / ".Work2")
    assert "Work2" in [one.name for one in place.account.mailboxes()]
    twin = place.account.mailbox("Work2")
    assert twin.mailbox_id != box.mailbox_id
    assert (twin.message_count, twin.keywords) == (1, ("$One", "$Two"))
    assert snapshot(place.account, twin.mailbox_id).flags == [FLAGGED | 1 << 8 | 1 << 9]
    assert place.read(1, "Work2") == TRACE + MESSAGE
    assert list(place.store.check(place.ref)) == []


def test_many_files_of_several_programs_all_appear_and_nothing_is_lost(place: Place) -> None:
    place.deliver()
    for number in range(sync.ADOPT_LIMIT + 30):
        where = "new" if number % 2 else "cur"
        (place.maildir / where / f"15000{number:05d}.x{number}.other").write_bytes(b"Subject: %d\n\n" % number)
    place.clock.skip(sync.SCAN_SECONDS)
    uids = place.uids()
    assert len(uids) == sync.ADOPT_LIMIT + 31
    assert {place.read(uid) for uid in uids[1:]} == {
        b"Subject: %d\r\n\r\n" % number for number in range(sync.ADOPT_LIMIT + 30)
    }
    assert list(place.store.check(place.ref)) == []


def test_file_that_was_still_being_copied_is_shown_whole_under_a_new_uid(place: Place) -> None:
    place.uids()
    with (place.maildir / "cur" / "1.slow.other:2,S").open("wb") as writer:
        writer.write(MESSAGE[:30])
        writer.flush()
        place.clock.skip(sync.SCAN_SECONDS)
        assert place.uids() == [1]
        writer.write(MESSAGE[30:])
    with pytest.raises(StoreError) as caught:
        place.read(1)
    assert caught.value.code == "store.no_such_message"
    assert place.uids() == [2]
    assert place.read(2) == MESSAGE
    assert snapshot(place.account, place.id()).flags == [SEEN]
    assert place.account.usage() == (len(MESSAGE), 1)
    assert list(place.store.check(place.ref)) == []


def test_folder_of_a_deleted_mailbox_put_back_by_hand_stays(place: Place) -> None:
    box = place.account.create("Work")
    place.account.append([NewMessage(place.stage(), box.mailbox_id)])
    place.account.delete("Work")
    flush(place)
    (place.maildir.parent / "expunged" / str(box.mailbox_id) / "mailbox").rename(place.maildir / ".Work")
    assert place.account.mailbox("Work").message_count == 1
    flush(place)
    place.clock.skip(sync.SCAN_SECONDS)
    assert len(place.uids("Work")) == 1
    assert place.account.retained_usage() == (0, 0)
    assert list(place.store.check(place.ref)) == []


def test_a_message_that_another_program_marks_before_it_is_durable_is_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = opened.fsync_file
    cur = str(place.maildir / "cur")

    def marked_meanwhile(path: str) -> None:
        if os.path.dirname(path) == cur and path.endswith(":2,"):
            os.rename(path, path + "S")
        real(path)

    monkeypatch.setattr(opened, "fsync_file", marked_meanwhile)
    staged = place.store.stage(place.ref, Content(b"", MESSAGE, len(MESSAGE)), synced=False)
    (result,) = place.account.append([NewMessage(staged, "INBOX")])
    assert isinstance(result, Appended), result
    assert only_file(place).name.endswith(":2,S")
