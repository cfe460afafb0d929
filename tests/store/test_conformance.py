"""What every store backend promises (`store.interface`), whatever it keeps its files in."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.model import Appended, FlagMode, SpecialUse, SystemFlag
from tests.support.store_place import MESSAGE, TRACE, Place, snapshot

SEEN, DELETED = int(SystemFlag.SEEN), int(SystemFlag.DELETED)


def code_of(error: object) -> str:
    assert isinstance(error, StoreError)
    return error.code


# a new account


def test_new_account_has_inbox_first_and_every_role_subscribed(place: Place) -> None:
    found = place.account.mailboxes()
    assert [(box.name, box.special_use) for box in found] == [
        ("INBOX", None),
        *((use.value, use) for use in sorted(SpecialUse)),
    ]
    assert all(box.subscribed and box.uidnext == 1 for box in found)


# delivery


def test_appended_bytes_come_back_with_the_trace_header_in_front(place: Place) -> None:
    done = place.deliver()
    assert place.read(done.uid) == TRACE + MESSAGE
    assert place.account.mailbox("INBOX").size_bytes == len(TRACE) + len(MESSAGE)


def test_file_body_is_read_from_its_start(place: Place) -> None:
    body = io.BytesIO(MESSAGE * 10_000)
    body.read(5)
    staged = place.store.stage(place.ref, Content(TRACE, body, 0))
    (done,) = place.account.append([NewMessage(staged, "INBOX")])
    assert isinstance(done, Appended)
    assert place.read(done.uid) == TRACE + MESSAGE * 10_000


def test_uids_count_up_from_one_and_are_told(place: Place) -> None:
    box = place.account.mailbox("INBOX")
    done = [place.deliver() for _ in range(3)]
    assert [one.uid for one in done] == [1, 2, 3]
    assert {one.uidvalidity for one in done} == {box.uidvalidity}
    assert len({one.modseq for one in done}) == 3


def test_batch_gets_its_uids_in_order(place: Place) -> None:
    results = place.account.append([NewMessage(place.stage(), "INBOX") for _ in range(5)])
    assert [one.uid for one in results if isinstance(one, Appended)] == [1, 2, 3, 4, 5]


def test_append_keeps_flags_keywords_and_date(place: Place) -> None:
    done = place.deliver("Sent", flags=SEEN, keywords=("$Forwarded",), internal_seconds=1_000_000_000)
    (message,) = place.account.messages(place.id("Sent"), [done.uid])
    box = place.account.mailbox("Sent")
    assert message.internal_seconds == 1_000_000_000
    assert message.flags == SEEN | 1 << 8
    assert box.keywords == ("$Forwarded",)
    assert box.unseen_count == 0


def test_mailbox_with_a_role_is_made_again_for_a_delivery(place: Place) -> None:
    place.account.delete("Junk")
    place.deliver("Junk")
    assert place.account.mailbox("Junk").special_use is SpecialUse.JUNK


def test_renamed_role_mailbox_still_gets_its_mail(place: Place) -> None:
    place.account.rename("Junk", "Spam")
    place.deliver("Junk")
    assert place.account.mailbox("Spam").message_count == 1


def test_delivery_to_an_unknown_mailbox_fails_alone(place: Place) -> None:
    staged = [place.stage() for _ in range(3)]
    results = place.account.append(
        [
            NewMessage(staged[0], "Nowhere"),
            NewMessage(staged[1], "INBOX"),
            NewMessage(staged[2], MailboxId(999)),
        ]
    )
    assert [code_of(results[0]), code_of(results[2])] == ["store.no_such_mailbox"] * 2
    assert isinstance(results[1], Appended)


def test_one_message_for_two_accounts_is_one_inode(place: Place) -> None:
    other = AccountRef(AccountId(8), "example.org", "bob", 0)
    staged = place.stage()
    linked = place.store.link(staged, other)
    (first,) = place.account.append([NewMessage(staged, "INBOX")])
    (second,) = place.store.account(other).append([NewMessage(linked, "INBOX")])
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    theirs = place.store.account(other)
    with (
        place.account.open_message(first.mailbox_id, first.uid) as one,
        theirs.open_message(second.mailbox_id, second.uid) as two,
    ):
        assert one.read() == two.read() == TRACE + MESSAGE


def test_discarded_stage_can_be_discarded_twice(place: Place) -> None:
    staged = place.stage()
    place.store.discard(staged)
    place.store.discard(staged)


def test_each_change_is_hinted_and_reading_is_not(place: Place) -> None:
    place.account.mailboxes()
    place.bus.topics.clear()
    place.deliver()
    assert place.bus.topics == ["account:7"]
    place.uids()
    place.account.changes(place.id(), Modseq(0))
    assert place.bus.topics == ["account:7"]


# quota


def test_one_over_quota_fails_alone_and_the_others_are_delivered(place: Place) -> None:  # D20
    size = len(TRACE) + len(MESSAGE)
    place.ref = replace(place.ref, quota_bytes=2 * size)
    big = place.stage(MESSAGE + b"x" * size)
    results = place.account.append(
        [NewMessage(place.stage(), "INBOX"), NewMessage(big, "INBOX"), NewMessage(place.stage(), "INBOX")]
    )
    assert [isinstance(one, Appended) for one in results] == [True, False, True]
    error = results[1]
    assert isinstance(error, StoreError)
    assert (error.code, error.temporary) == ("store.over_quota", True)
    assert place.account.usage() == (2 * size, 2)


def test_quota_counts_both_ways(place: Place) -> None:  # D20, D22
    size = len(TRACE) + len(MESSAGE)
    inbox, trash = place.id(), place.id("Trash")
    for _ in range(3):
        place.deliver()
    assert place.account.usage() == (3 * size, 3)
    place.account.copy(inbox, [Uid(1)], trash)
    assert place.account.usage() == (4 * size, 4)
    place.account.copy(inbox, [Uid(1)], trash, move=True)
    assert place.account.usage() == (4 * size, 4)
    place.account.store_flags(inbox, [Uid(2)], FlagMode.ADD, DELETED)
    place.account.expunge(inbox, None)
    assert place.account.usage() == (3 * size, 3)
    place.account.delete("Trash")
    assert place.account.usage() == (size, 1)


def test_copy_over_quota_changes_nothing_and_move_needs_none(place: Place) -> None:
    size = len(TRACE) + len(MESSAGE)
    place.ref = replace(place.ref, quota_bytes=2 * size)
    place.deliver()
    place.deliver()
    inbox, trash = place.id(), place.id("Trash")
    with pytest.raises(StoreError, match=r"store\.over_quota"):
        place.account.copy(inbox, [Uid(1)], trash)
    assert place.uids("Trash") == []
    assert place.account.usage() == (2 * size, 2)
    place.account.copy(inbox, [Uid(1)], trash, move=True)
    assert (place.uids(), place.uids("Trash")) == ([2], [1])


# flags


def test_flag_modes_combine(place: Place) -> None:
    place.deliver(flags=int(SystemFlag.FLAGGED))
    inbox = place.id()
    added = place.account.store_flags(inbox, [Uid(1)], FlagMode.ADD, SEEN, ("Work",))
    removed = place.account.store_flags(inbox, [Uid(1)], FlagMode.REMOVE, int(SystemFlag.FLAGGED), ("unknown",))
    replaced = place.account.store_flags(inbox, [Uid(1)], FlagMode.REPLACE, DELETED)
    flags = [result.changed[0][1] for result in (added, removed, replaced)]
    assert flags == [SEEN | SystemFlag.FLAGGED | 256, SEEN | 256, DELETED]


def test_unchanged_flags_keep_the_modseq(place: Place) -> None:
    done = place.deliver(flags=SEEN)
    result = place.account.store_flags(place.id(), [done.uid, Uid(77)], FlagMode.ADD, SEEN)
    assert list(result.changed) == []
    assert place.account.messages(place.id(), [done.uid])[0].modseq == done.modseq


def test_unchanged_since_refuses_what_changed_later(place: Place) -> None:
    first, second = place.deliver(), place.deliver()
    result = place.account.store_flags(
        place.id(), [first.uid, second.uid], FlagMode.ADD, SEEN, unchanged_since=first.modseq
    )
    assert [uid for uid, _, _ in result.changed] == [first.uid]
    assert list(result.modified) == [second.uid]


def test_unseen_and_deleted_are_counted(place: Place) -> None:
    for _ in range(3):
        place.deliver()
    inbox = place.id()
    place.account.store_flags(inbox, [Uid(1), Uid(2)], FlagMode.ADD, SEEN | DELETED)
    place.account.store_flags(inbox, [Uid(2)], FlagMode.REMOVE, SEEN)
    box = place.account.mailbox("INBOX")
    assert (box.message_count, box.unseen_count, box.deleted_count) == (3, 2, 2)


def test_keywords_compare_without_case_and_end_at_26(place: Place) -> None:
    place.deliver()
    inbox = place.id()
    place.account.store_flags(inbox, [Uid(1)], FlagMode.ADD, 0, [f"k{number}" for number in range(26)])
    again = place.account.store_flags(inbox, [Uid(1)], FlagMode.ADD, 0, ["K3"])
    assert list(again.changed) == []
    with pytest.raises(StoreError, match="too_many_keywords"):
        place.account.store_flags(inbox, [Uid(1)], FlagMode.ADD, 0, ["one more"[:3]])


@pytest.mark.parametrize("keyword", ["", "two words", 'quo"te', "par(", "back\\slash", "ümlaut", "x" * 65])
def test_keyword_that_is_no_atom_is_refused(place: Place, keyword: str) -> None:
    place.deliver()
    with pytest.raises(StoreError, match="bad_keyword"):
        place.account.store_flags(place.id(), [Uid(1)], FlagMode.ADD, 0, [keyword])


# copy, move, expunge


def test_copy_keeps_flags_keywords_date_and_listing(place: Place) -> None:
    place.account.store_flags(place.id("Trash"), [], FlagMode.ADD, 0, ["Other"])
    place.deliver(flags=SEEN, keywords=("Work",), internal_seconds=1_234_567_890)
    done = place.account.copy(place.id(), [Uid(1), Uid(9)], place.id("Trash"))
    assert (list(done.source_uids), list(done.target_uids)) == ([1], [1])
    (row,) = place.account.rendered(
        place.id("Trash"), [Uid(1)], ["flags", "internal_seconds", "size_bytes", "envelope", "header"]
    )
    (original,) = place.account.rendered(place.id(), [Uid(1)], ["envelope", "header"])
    assert row[1:4] == (SEEN | 1 << 9, 1_234_567_890, len(TRACE) + len(MESSAGE))
    assert row[4:] == original[1:]
    assert place.read(1, "Trash") == TRACE + MESSAGE


def test_move_tells_the_modseq_of_the_removal(place: Place) -> None:
    place.deliver()
    before = place.account.mailbox("INBOX").highest_modseq
    done = place.account.copy(place.id(), [Uid(1)], place.id("Trash"), move=True)
    assert done.expunged_modseq is not None
    assert done.expunged_modseq > before
    assert list(place.account.changes(place.id(), before).expunged) == [1]


def test_move_within_one_mailbox_gives_a_new_uid(place: Place) -> None:
    place.deliver()
    place.account.copy(place.id(), [Uid(1)], place.id(), move=True)
    assert place.uids() == [2]
    assert place.read(2) == TRACE + MESSAGE


def test_expunge_takes_only_deleted_ones_of_those_asked(place: Place) -> None:
    for _ in range(4):
        place.deliver()
    inbox = place.id()
    place.account.store_flags(inbox, [Uid(1), Uid(2), Uid(3)], FlagMode.ADD, DELETED)
    assert list(place.account.expunge(inbox, [Uid(2), Uid(4)])) == [2]
    assert list(place.account.expunge(inbox, None)) == [1, 3]
    assert place.uids() == [4]
    with pytest.raises(StoreError, match="no_such_message"):
        place.read(1)


def test_expunged_uid_is_never_given_out_again(place: Place) -> None:
    place.deliver(flags=DELETED)
    place.account.expunge(place.id(), None)
    assert place.deliver().uid == 2


# reading


def test_rendered_columns_come_in_the_order_asked(place: Place) -> None:
    for _ in range(3):
        place.deliver()
    rows = list(place.account.rendered(place.id(), [Uid(3), Uid(1), Uid(8)], ["header", "flags", "envelope", "parts"]))
    assert [row[0] for row in rows] == [1, 3]
    assert rows[0][1] == TRACE + MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert rows[0][2] == 0
    with pytest.raises(ValueError, match="column"):
        list(place.account.rendered(place.id(), [Uid(1)], ["stem; DROP TABLE message"]))


def test_rendered_reads_thousands_in_order(place: Place) -> None:
    staged = place.stage()
    results = place.account.append([NewMessage(place.store.link(staged, place.ref), "INBOX") for _ in range(1_100)])
    uids = [one.uid for one in results if isinstance(one, Appended)]
    odd = uids[::2]
    assert [row[0] for row in place.account.rendered(place.id(), list(reversed(uids)), ["bodystructure"])] == uids
    assert [message.uid for message in place.account.messages(place.id(), odd)] == odd


def test_changes_tell_new_changed_and_expunged(place: Place) -> None:
    for _ in range(3):
        place.deliver()
    inbox = place.id()
    since = snapshot(place.account, inbox).info.highest_modseq
    place.account.store_flags(inbox, [Uid(2)], FlagMode.ADD, SEEN)
    place.account.store_flags(inbox, [Uid(1)], FlagMode.ADD, DELETED)
    place.account.expunge(inbox, None)
    place.deliver()
    changes = place.account.changes(inbox, since)
    assert [(uid, flags) for uid, flags, _ in changes.changed] == [(2, SEEN), (4, 0)]
    assert list(changes.expunged) == [1]
    assert (changes.uidnext, changes.exists) == (5, True)
    assert list(place.account.changes(inbox, changes.highest_modseq).changed) == []


def test_changes_of_a_deleted_mailbox_say_so(place: Place) -> None:
    trash = place.id("Trash")
    place.account.delete("Trash")
    assert place.account.changes(trash, Modseq(0)).exists is False


def test_asker_from_before_the_log_gets_everything(place: Place) -> None:
    for _ in range(3):
        place.deliver()
    place.account.store_flags(place.id(), [Uid(2)], FlagMode.ADD, DELETED)
    place.account.expunge(place.id(), None)
    changes = place.account.changes(place.id(), Modseq(1))
    assert [uid for uid, _, _ in changes.changed] == [1, 3]
    assert list(changes.expunged) == [2]


def test_recent_is_claimed_once(place: Place) -> None:
    place.deliver()
    inbox = place.id()
    assert place.account.claim_recent(inbox) == 1
    assert place.account.claim_recent(inbox) == 2
    place.deliver()
    assert place.account.claim_recent(inbox) == 2


def test_recent_messages_beyond_the_view_are_left_to_others(place: Place) -> None:
    for _ in range(3):
        place.deliver()
    inbox = place.id()
    assert place.account.claim_recent(inbox, Uid(3)) == 1
    assert place.account.claim_recent(inbox, Uid(3)) == 3
    assert place.account.claim_recent(inbox, Uid(4)) == 3
    assert place.account.claim_recent(inbox) == 4


# mailboxes


def test_create_makes_parents_and_ids_are_immutable(place: Place) -> None:
    box = place.account.create("Work/2026/Müller & Söhne.de")
    names = [one.name for one in place.account.mailboxes()]
    assert {"Work", "Work/2026", "Work/2026/Müller & Söhne.de"} <= set(names)
    place.account.rename("Work", "Play")
    assert place.account.mailbox("Play/2026/Müller & Söhne.de").mailbox_id == box.mailbox_id


def test_create_twice_is_refused(place: Place) -> None:
    place.account.create("Work")
    for name in ("Work", "inbox"):
        with pytest.raises(StoreError, match="mailbox_exists"):
            place.account.create(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        ".",
        "a/.",
        "a\0b",
        "a\nb",
        "\x7f",
        "x" * 1_001,
        "ü" * 200,
        "\ud800",
    ],
)
def test_names_that_could_leave_their_place_are_refused_everywhere(place: Place, name: str) -> None:  # D8
    before = [box.name for box in place.account.mailboxes()]
    account = place.account
    for call in (
        lambda: account.create(name),
        lambda: account.delete(name),
        lambda: account.rename(name, "x"),
        lambda: account.rename("Sent", name),
        lambda: account.subscribe(name, True),
        lambda: account.mailbox(name),
    ):
        with pytest.raises(StoreError, match=r"store\.bad_name"):
            call()
    assert [box.name for box in account.mailboxes()] == before


def test_names_with_dots_are_one_level(place: Place) -> None:
    for name in ("a.b", "a/b", ".hidden", "a&b", "~root", "x/..y", "deleted.1", "100%*"):
        place.account.create(name)
    names = [box.name for box in place.account.mailboxes()]
    assert {"a.b", "a/b", ".hidden", "a&b", "~root", "x/..y", "deleted.1", "100%*"} <= set(names)


def test_inbox_is_one_in_any_case_and_stays(place: Place) -> None:
    assert place.account.mailbox("iNbOx").name == "INBOX"
    with pytest.raises(StoreError, match="bad_name"):
        place.account.delete("Inbox")


def test_rename_keeps_messages_uids_and_children(place: Place) -> None:
    place.account.create("A/B")
    done = place.account.append([NewMessage(place.stage(), place.id("A/B"))])
    assert isinstance(done[0], Appended)
    place.account.rename("A", "X/Y")
    assert {"X", "X/Y", "X/Y/B"} <= {box.name for box in place.account.mailboxes()}
    assert place.read(1, "X/Y/B") == TRACE + MESSAGE
    with pytest.raises(StoreError, match="no_such_mailbox"):
        place.account.mailbox("A/B")


def test_rename_refuses_existing_and_own_children(place: Place) -> None:
    place.account.create("A/B")
    for target, code in (("Sent", "mailbox_exists"), ("A/B/C", "bad_name"), ("INBOX", "bad_name")):
        with pytest.raises(StoreError, match=code):
            place.account.rename("A", target)
    with pytest.raises(StoreError, match="no_such_mailbox"):
        place.account.rename("Nowhere", "Somewhere")


def test_rename_of_a_name_without_a_mailbox_takes_its_children_along(place: Place) -> None:
    place.account.create("A/B/C")
    place.account.delete("A")
    place.account.rename("A", "X")
    names = {box.name for box in place.account.mailboxes()}
    assert {"X/B", "X/B/C"} <= names
    assert not {"X", "A/B"} & names


def test_subscriptions_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.store.maildir.mailboxes.MAX_MAILBOXES", len(place.account.subscriptions()) + 1)
    place.account.subscribe("one", True)
    with pytest.raises(StoreError, match="too_many_mailboxes"):
        place.account.subscribe("two", True)
    place.account.subscribe("one", False)
    place.account.subscribe("two", True)


def test_renaming_inbox_moves_its_messages(place: Place) -> None:
    place.deliver(keywords=("Work",))
    place.account.rename("INBOX", "Old/Mail")
    assert (place.uids(), place.uids("Old/Mail")) == ([], [1])
    assert place.account.mailbox("Old/Mail").keywords == ("Work",)
    assert place.deliver().uid == 2


def test_delete_leaves_children_and_a_new_mailbox_has_another_identity(place: Place) -> None:
    first = place.account.create("A")
    place.account.create("A/B")
    place.account.delete("A")
    assert place.account.mailbox("A/B").name == "A/B"
    again = place.account.create("A")
    assert again.mailbox_id != first.mailbox_id
    assert again.uidvalidity > first.uidvalidity


def test_subscriptions_survive_deletion(place: Place) -> None:
    place.account.create("Lists/A")
    place.account.subscribe("Lists/A", True)
    place.account.subscribe("Sent", False)
    place.account.delete("Lists/A")
    assert "Lists/A" in place.account.subscriptions()
    assert not place.account.mailbox("Sent").subscribed


def test_special_use_can_be_given_at_creation(place: Place) -> None:
    place.account.delete("Archive")
    place.account.create("Old", SpecialUse.ARCHIVE)
    assert place.account.mailbox("Old").special_use is SpecialUse.ARCHIVE


# the whole account


def test_removed_account_is_out_of_service_and_kept(place: Place) -> None:  # D22
    place.deliver()
    where = place.store.remove_account(place.ref)
    assert "trash" in where
    again = replace(place.ref, account_id=AccountId(99))
    assert place.store.account(again).usage() == (0, 0)


def test_removing_an_account_without_mail_is_an_error(place: Place) -> None:
    with pytest.raises(StoreError, match="no_such_account"):
        place.store.remove_account(place.ref)


@pytest.mark.parametrize("localpart", ["../bob", ".", "..", "a/b", ".hidden", "x\0y", "straße"])
def test_no_localpart_leaves_its_domain(place: Place, localpart: str) -> None:
    place.ref = AccountRef(AccountId(5), "example.org", localpart, 0)
    place.deliver()
    outside = {path.name for path in (place.data_dir / "mail").iterdir()}
    assert outside == {"example.org"}
    assert place.uids() == [1]


def test_clean_account_has_nothing_to_tell(place: Place) -> None:
    for name in ("INBOX", "Sent"):
        place.deliver(name, keywords=("Work",))
    place.account.copy(place.id(), [Uid(1)], place.id("Trash"), move=True)
    assert list(place.store.check(place.ref)) == []


def test_rebuild_brings_everything_back(place: Place) -> None:
    place.account.create("Work/Ä.B")
    place.account.subscribe("Gone", True)
    place.deliver(flags=SEEN, keywords=("One", "Two"), internal_seconds=1_111_111_111)
    place.deliver(flags=DELETED)
    place.account.append([NewMessage(place.stage(), place.id("Work/Ä.B"))])
    place.account.expunge(place.id(), None)

    def picture() -> object:
        boxes = [
            (
                box.mailbox_id,
                box.name,
                box.uidvalidity,
                box.subscribed,
                box.special_use,
                box.keywords,
                box.message_count,
            )
            for box in place.account.mailboxes()
        ]
        columns = ["flags", "size_bytes", "internal_seconds", "envelope", "bodystructure", "body", "header", "parts"]
        uids = [Uid(uid) for uid in range(1, 50)]
        rows = {box[1]: list(place.account.rendered(box[0], uids, columns)) for box in boxes}
        return boxes, rows, list(place.account.subscriptions()), place.account.usage()

    before, modseq = picture(), place.account.mailbox("INBOX").highest_modseq
    progress: list[int] = []
    assert place.store.rebuild(place.ref, progress.append) == 2
    assert picture() == before
    assert progress[-1] == 2
    assert list(place.store.check(place.ref)) == []
    assert place.account.mailbox("INBOX").highest_modseq > modseq
    assert list(place.account.changes(place.id(), modseq).expunged)[:1] == [2]
    assert place.deliver().uid > 2


def test_rebuild_keeps_flags_that_file_names_do_not_show_yet(place: Place) -> None:
    for _ in range(300):
        place.deliver()
    uids = [Uid(uid) for uid in range(1, 301)]
    place.account.store_flags(place.id(), uids, FlagMode.ADD, int(SEEN), ("Work",))
    before = [each.flags for each in place.account.messages(place.id(), uids)]
    place.store.rebuild(place.ref)
    assert [each.flags for each in place.account.messages(place.id(), uids)] == before


# all or nothing


def test_atomic_append_stores_all_with_consecutive_uids(place: Place) -> None:
    results = place.account.append([NewMessage(place.stage(), "INBOX") for _ in range(3)], atomic=True)
    assert [one.uid for one in results if isinstance(one, Appended)] == [1, 2, 3]


def test_atomic_append_over_quota_at_the_last_one_stores_none(place: Place) -> None:
    size = len(TRACE) + len(MESSAGE)
    account = place.store.account(replace(place.ref, quota_bytes=size * 2))
    with pytest.raises(StoreError) as caught:
        account.append([NewMessage(place.stage(), "INBOX") for _ in range(3)], atomic=True)
    assert code_of(caught.value) == "store.over_quota"
    assert account.usage() == (0, 0)
    assert place.uids() == []
    assert list(place.store.check(place.ref)) == []
    assert len(account.append([NewMessage(place.stage(), "INBOX") for _ in range(2)], atomic=True)) == 2
    assert account.usage() == (size * 2, 2)


def test_replace_takes_the_old_message_and_gives_a_new_uid(place: Place) -> None:
    old = place.deliver(flags=SEEN)
    since = place.account.mailbox("INBOX").highest_modseq
    text = b"Subject: second draft\r\n\r\n"
    staged = place.store.stage(place.ref, Content(b"", text, len(text)))
    done = place.account.replace(place.id(), old.uid, NewMessage(staged, "INBOX"))
    assert place.uids() == [done.appended.uid] == [2]
    assert place.read(2) == text
    changes = place.account.changes(place.id(), since)
    assert (list(changes.expunged), changes.highest_modseq) == ([1], done.expunged_modseq)
    assert place.account.usage() == (len(text), 1)
    assert list(place.store.check(place.ref)) == []


def test_replace_into_another_mailbox(place: Place) -> None:
    old = place.deliver("Drafts")
    done = place.account.replace(place.id("Drafts"), old.uid, NewMessage(place.stage(), "Sent"))
    assert done.appended.mailbox_id == place.id("Sent")
    assert (place.uids("Drafts"), place.uids("Sent")) == ([], [1])


def test_replace_of_a_message_that_is_gone_stores_nothing(place: Place) -> None:
    place.uids()
    with pytest.raises(StoreError) as caught:
        place.account.replace(place.id(), Uid(5), NewMessage(place.stage(), "INBOX"))
    assert code_of(caught.value) == "store.no_such_message"
    assert place.uids() == []
    assert list(place.store.check(place.ref)) == []


def test_replace_needs_room_for_the_difference_only(place: Place) -> None:
    size = len(TRACE) + len(MESSAGE)
    account = place.store.account(replace(place.ref, quota_bytes=size + 10))
    old = place.deliver()
    done = account.replace(place.id(), old.uid, NewMessage(place.stage(MESSAGE + b"1234567890"), "INBOX"))
    with pytest.raises(StoreError) as caught:
        account.replace(place.id(), done.appended.uid, NewMessage(place.stage(MESSAGE + b"12345678901"), "INBOX"))
    assert code_of(caught.value) == "store.over_quota"
    assert place.uids() == [done.appended.uid]
    assert account.usage() == (size + 10, 1)
