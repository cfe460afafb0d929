"""Annotations and access lists: they follow their mailbox and survive the index."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId
from mailbox_app.store.interface import Store
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import FlagMode, SpecialUse, SystemFlag
from mailbox_app.store.notes import ACCOUNT_NOTES, MAX_ENTRIES, MAX_VALUE_BYTES, Notes
from tests.support.clock import FakeClock
from tests.support.store_place import Place, RecordingBus


def notes_of(place: Place) -> Notes:
    return place.store.notes(place.ref)


def give(place: Place, name: str, identifier: str, rights: str) -> None:
    notes_of(place).change_acl(place.id(name), identifier, lambda _: rights)


def again(place: Place) -> Store:
    """Another process on the same folder."""
    return MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=FakeClock())


def test_entries_are_set_changed_and_removed(place: Place) -> None:
    notes, inbox = notes_of(place), place.id()
    notes.annotate(inbox, {"/shared/a": b"one", "/private/b": b"\0\xff"})
    notes.annotate(inbox, {"/shared/a": b"two", "/shared/c": b""})
    assert notes.annotations(inbox) == {"/shared/a": b"two", "/private/b": b"\0\xff", "/shared/c": b""}
    notes.annotate(inbox, {"/private/b": None, "/shared/none": None})
    assert notes.annotations(inbox) == {"/shared/a": b"two", "/shared/c": b""}
    assert notes.annotations(ACCOUNT_NOTES) == {}


def test_a_change_is_hinted_and_no_change_is_not(place: Place) -> None:
    place.account.create("a")
    mailbox_id = place.id("a")
    place.bus.topics.clear()
    notes_of(place).annotate(mailbox_id, {"/shared/a": b"one"})
    assert len(place.bus.topics) == 1
    notes_of(place).annotate(mailbox_id, {"/shared/a": b"one"})
    assert len(place.bus.topics) == 1
    give(place, "a", "bob@example.org", "lr")
    assert len(place.bus.topics) == 2


def test_too_much_is_refused_and_changes_nothing(place: Place) -> None:
    notes, inbox = notes_of(place), place.id()
    with pytest.raises(StoreError, match="note_too_large"):
        notes.annotate(inbox, {"/shared/a": b"x" * (MAX_VALUE_BYTES + 1)})
    notes.annotate(inbox, {f"/shared/{number}": b"x" for number in range(MAX_ENTRIES)})
    with pytest.raises(StoreError, match="too_many_notes"):
        notes.annotate(inbox, {"/shared/more": b"x"})
    assert len(notes.annotations(inbox)) == MAX_ENTRIES
    notes.annotate(inbox, {"/shared/0": None, "/shared/more": b"x"})
    with pytest.raises(StoreError, match="too_many_notes"):
        notes.annotate(inbox, {f"/shared/{number}": b"x" * MAX_VALUE_BYTES for number in range(1, 10)})


def test_a_mailbox_that_is_gone_has_no_notes(place: Place) -> None:
    place.account.create("a")
    mailbox_id = place.id("a")
    place.account.delete("a")
    with pytest.raises(StoreError, match="no_such_mailbox"):
        notes_of(place).annotate(mailbox_id, {"/shared/a": b"x"})
    with pytest.raises(StoreError, match="no_such_mailbox"):
        notes_of(place).change_acl(mailbox_id, "bob@example.org", lambda _: "l")
    assert notes_of(place).acls() == {}


def test_they_follow_a_renamed_mailbox_and_die_with_a_deleted_one(place: Place) -> None:
    place.account.create("a/b")
    notes = notes_of(place)
    notes.annotate(place.id("a/b"), {"/shared/x": b"kept"})
    give(place, "a/b", "bob@example.org", "lr")
    place.account.rename("a", "c")
    assert notes.annotations(place.id("c/b")) == {"/shared/x": b"kept"}
    assert notes.acls() == {place.id("c/b"): {"bob@example.org": "lr"}}
    place.account.delete("c/b")
    assert notes.acls() == {}
    place.account.create("c/b")
    assert notes.annotations(place.id("c/b")) == {}
    assert notes.acls() == {}


def test_a_new_mailbox_is_as_open_as_the_one_above(place: Place) -> None:
    place.account.create("a")
    give(place, "a", "bob@example.org", "lrk")
    place.account.create("a/b/c")
    assert notes_of(place).acls()[place.id("a/b/c")] == {"bob@example.org": "lrk"}
    assert json.loads((place.maildir / ".a.b.c" / "acl.json").read_text()) == {"bob@example.org": "lrk"}


def test_a_copy_of_a_folder_keeps_annotations_and_starts_private(place: Place) -> None:
    place.account.create("a")
    notes_of(place).annotate(place.id("a"), {"/shared/x": b"copied"})
    give(place, "a", "bob@example.org", "lr")
    shutil.copytree(place.maildir / ".a", place.maildir / ".b")
    assert notes_of(place).annotations(place.id("b")) == {"/shared/x": b"copied"}
    assert list(notes_of(place).acls()) == [place.id("a")]
    place.store.rebuild(place.ref)
    assert list(notes_of(place).acls()) == [place.id("a")]


ENTRIES = st.dictionaries(
    st.sampled_from(["/shared/a", "/private/b", "bob@example.org/private/b"]), st.binary(max_size=20), max_size=3
)
ACL = st.dictionaries(
    st.sampled_from(["bob@example.org", "anyone", "-anyone", "ü@example.org"]), st.text("lrswi", min_size=1), max_size=3
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["INBOX", "Sent", "x", "x/y"]), st.tuples(ENTRIES, ACL), max_size=4), ENTRIES)
def test_a_rebuild_gives_back_every_note(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: dict[str, tuple[dict[str, bytes], dict[str, str]]],
    own: dict[str, bytes],
) -> None:
    folder = tmp_path_factory.mktemp("notes")
    store = MaildirStore(folder, RecordingBus(), hostname="mx.example.org", clock=FakeClock())
    ref = AccountRef(AccountId(7), "example.org", "alice", 0)
    account, notes = store.account(ref), store.notes(ref)
    account.create("x/y")
    ids = {name: account.mailbox(name).mailbox_id for name in wanted}
    for name, (entries, acl) in wanted.items():
        notes.annotate(ids[name], entries)
        for identifier, rights in acl.items():
            notes.change_acl(ids[name], identifier, lambda _, rights=rights: rights)  # type: ignore[misc]
    notes.annotate(ACCOUNT_NOTES, own)

    def state() -> tuple[object, ...]:
        return {name: notes.annotations(ids[name]) for name in wanted}, notes.acls(), notes.annotations(ACCOUNT_NOTES)

    before = state()
    assert before[1] == {ids[name]: acl for name, (_, acl) in wanted.items() if acl}
    assert before[2] == own
    store.rebuild(ref)
    assert state() == before
    store.close()


def test_who_shares_with_whom_is_found_and_forgotten(place: Place) -> None:
    place.account.create("a")
    shares = place.store.shares()
    assert shares.owners(["bob@example.org", "anyone"]) == []
    give(place, "a", "bob@example.org", "lr")
    give(place, "INBOX", "bob@example.org", "l")
    assert shares.owners(["bob@example.org", "anyone"]) == ["alice@example.org"]
    give(place, "a", "bob@example.org", "")
    assert shares.owners(["bob@example.org"]) == ["alice@example.org"]
    give(place, "INBOX", "bob@example.org", "")
    assert shares.owners(["bob@example.org"]) == []
    give(place, "INBOX", "-bob@example.org", "l")
    assert shares.owners(["bob@example.org", "-bob@example.org"]) == []


def test_a_lost_table_of_shares_is_made_anew_from_the_tree(place: Place) -> None:
    place.account.create("a")
    give(place, "a", "anyone", "lr")
    for path in place.data_dir.glob("shares.db*"):
        path.unlink()
    other = again(place)
    assert other.shares().owners(["anyone"]) == ["alice@example.org"]
    other.close()  # type: ignore[attr-defined]


def test_a_damaged_table_of_shares_is_made_anew(place: Place) -> None:
    give(place, "INBOX", "anyone", "lr")
    place.store.close()  # type: ignore[attr-defined]
    (place.data_dir / "shares.db").write_bytes(b"no database" * 1_000)
    other = again(place)
    assert other.shares().owners(["anyone"]) == ["alice@example.org"]
    other.close()  # type: ignore[attr-defined]


def test_a_rebuild_brings_the_table_of_shares_in_step(place: Place) -> None:
    give(place, "INBOX", "bob@example.org", "lr")
    (place.maildir / "acl.json").unlink()
    place.store.rebuild(place.ref)
    assert place.store.shares().owners(["bob@example.org"]) == []
    assert notes_of(place).acls() == {}


@pytest.mark.parametrize("name", ["acl.json", "annotations.json"])
def test_an_unreadable_file_lets_nobody_in(place: Place, name: str) -> None:
    give(place, "INBOX", "bob@example.org", "lr")
    notes_of(place).annotate(place.id(), {"/shared/a": b"x"})
    (place.maildir / name).write_bytes(b"\xff{")
    place.store.rebuild(place.ref)
    assert notes_of(place).acls() == {} if name == "acl.json" else notes_of(place).annotations(place.id()) == {}


def test_check_tells_of_files_that_say_something_else(place: Place) -> None:
    give(place, "INBOX", "bob@example.org", "lr")
    notes_of(place).annotate(place.id(), {"/shared/a": b"x"})
    assert place.store.check(place.ref) == []
    (place.maildir / "acl.json").write_text('{"eve@example.org": "lr"}')
    (place.maildir / "annotations.json").unlink()
    assert set(place.store.check(place.ref)) == {
        "INBOX: acl.json differs from the index",
        "INBOX: annotations.json differs from the index",
    }


def test_what_a_mailbox_is_for_survives_a_rebuild(place: Place) -> None:
    place.account.create("mine")
    with pytest.raises(StoreError, match="use_taken"):
        place.account.set_special_use(place.id("mine"), SpecialUse.SENT)
    place.account.set_special_use(place.id("Sent"), None)
    place.account.set_special_use(place.id("mine"), SpecialUse.SENT)
    place.store.rebuild(place.ref)
    uses = {info.name: info.special_use for info in place.account.mailboxes()}
    assert (uses["Sent"], uses["mine"]) == (None, SpecialUse.SENT)


def test_a_failed_commit_puts_the_files_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    give(place, "INBOX", "bob@example.org", "lr")
    before = (place.maildir / "acl.json").read_bytes()

    def broken(*_: object) -> None:
        raise StoreError("store.full", "storage is full", temporary=True)

    monkeypatch.setattr("mailbox_app.store.maildir.notes_queries.replace_acl", broken)
    monkeypatch.setattr("mailbox_app.store.maildir.notes_queries.replace_annotations", broken)
    with pytest.raises(StoreError):
        give(place, "INBOX", "bob@example.org", "lrswi")
    with pytest.raises(StoreError):
        notes_of(place).annotate(place.id(), {"/shared/a": b"x"})
    assert (place.maildir / "acl.json").read_bytes() == before
    assert not (place.maildir / "annotations.json").exists()


def test_deleted_bytes_are_those_marked(place: Place) -> None:
    first, _ = place.deliver(), place.deliver()
    notes = notes_of(place)
    assert notes.deleted_bytes(place.id()) == 0
    place.account.store_flags(place.id(), [first.uid], FlagMode.ADD, SystemFlag.DELETED)
    (row,) = place.account.messages(place.id(), [first.uid])
    assert notes.deleted_bytes(place.id()) == row.size_bytes
    assert notes.deleted_bytes(MailboxId(999)) == 0


def test_a_name_has_one_form(place: Place) -> None:
    place.account.create("Entwu\u0308rfe")
    assert place.account.mailbox("Entw\u00fcrfe").name == "Entw\u00fcrfe"
    with pytest.raises(StoreError, match="mailbox_exists"):
        place.account.create("Entw\u00fcrfe")
