"""Damage met on the way is put right and told to the audit; nobody is shown a wrong message."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.store import repairs
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.store_place import MESSAGE, TRACE, Place, RecordingBus


def noted(place: Place) -> list[str]:
    return [f"{repair.address}: {repair.text}" for _, repair in repairs.waiting(place.data_dir)]


def index_of(place: Place) -> Path:
    return place.maildir.parent / "index.db"


def test_index_deleted_while_open_is_made_anew_with_the_same_uids(place: Place) -> None:
    place.deliver()
    place.deliver()
    box = place.account.mailbox("INBOX")
    place.clock.skip(1)
    index_of(place).unlink()
    assert place.uids() == [1, 2]
    again = place.account.mailbox("INBOX")
    assert (again.mailbox_id, again.uidvalidity) == (box.mailbox_id, box.uidvalidity)
    assert again.highest_modseq > box.highest_modseq
    assert noted(place) == ["alice@example.org: the index was missing and was made anew from 2 message files"]
    assert "repairs" in place.bus.topics


def test_new_account_is_no_repair(place: Place) -> None:
    place.deliver()
    assert noted(place) == []


def test_index_overwritten_while_open_is_made_anew(place: Place) -> None:
    for number in range(40):
        place.deliver(body=MESSAGE + b"%d\r\n" % number)
    assert isinstance(place.store, MaildirStore)
    place.store.close()  # so that all of it is in the file
    place.store = MaildirStore(place.data_dir, RecordingBus(), hostname="mx.example.org", clock=place.clock)
    inbox = place.id()
    place.store._handles.let_go(-1)
    data = bytearray(index_of(place).read_bytes())
    data[4096:] = b"\x5a" * (len(data) - 4096)
    index_of(place).write_bytes(data)
    refused = 0
    for uid in [*range(1, 41), *range(1, 41)]:
        try:
            data_now = place.account.open_message(inbox, Uid(uid)).read()
        except StoreError:
            refused += 1
        else:
            assert data_now == TRACE + MESSAGE + b"%d\r\n" % (uid - 1)
    assert refused <= 1
    assert len(noted(place)) == 1
    assert list(place.store.check(place.ref)) == []


def test_message_whose_file_is_gone_is_expunged_when_somebody_reads_it(place: Place) -> None:
    place.deliver()
    place.deliver()
    since = place.account.mailbox("INBOX").highest_modseq
    inbox = place.id()
    next((place.maildir / "cur").glob("*,U=1:*")).unlink()
    with pytest.raises(StoreError) as caught:
        place.account.open_message(inbox, Uid(1))
    assert caught.value.code == "store.no_such_message"
    assert list(place.account.changes(inbox, since).expunged) == [1]
    assert place.account.usage() == (len(TRACE + MESSAGE), 1)
    assert noted(place) == [
        "alice@example.org: the file of message 1 in INBOX was gone; it is no longer shown",
    ]
    with pytest.raises(StoreError):
        place.account.open_message(inbox, Uid(1))
    assert len(noted(place)) == 1


def test_missing_directory_takes_no_row(place: Place) -> None:
    place.deliver()
    inbox = place.id()
    (place.maildir / "cur").rename(place.maildir / "away")
    with pytest.raises(StoreError):
        place.account.open_message(inbox, Uid(1))
    (place.maildir / "away").rename(place.maildir / "cur")
    assert place.read(1) == TRACE + MESSAGE


def test_notes_of_strangers_are_passed_over_and_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = repairs.RepairNotes(place.data_dir, place.bus)
    monkeypatch.setattr(repairs, "_MAX_WAITING", 2)
    (place.data_dir / repairs.FOLDER).mkdir()
    (place.data_dir / repairs.FOLDER / "1.json").write_bytes(b"nonsense")
    notes.note(place.ref, "first")
    notes.note(place.ref, "second")
    assert noted(place) == ["alice@example.org: first"]
