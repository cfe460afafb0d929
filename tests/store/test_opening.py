"""Opening many message files while other programs, and other sessions, are at them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mailbox_app.ids import MailboxId, Uid
from mailbox_app.store.maildir import queries, sync
from mailbox_app.store.model import FlagMode, SystemFlag
from tests.support.store_place import TRACE, Place


def deliver(place: Place, count: int) -> list[Uid]:
    return [place.deliver(body=b"n: %d" % number).uid for number in range(count)]


def read_all(place: Place, uids: Sequence[Uid], inbox: MailboxId | None = None) -> list[tuple[int, bytes | None]]:
    """`inbox`: known from before, for looking it up makes index and files agree."""
    found: list[tuple[int, bytes | None]] = []
    for uid, opened in place.account.open_messages(inbox or place.id(), uids):
        if opened is None:
            found.append((uid, None))
            continue
        with opened:
            found.append((uid, opened.read().removeprefix(TRACE)))
    return found


def file_of(place: Place, uid: int) -> Path:
    (path,) = (place.maildir / "cur").glob(f"*,U={uid}:2,*")
    return path


def test_files_come_in_the_order_of_their_uids(place: Place) -> None:
    uids = deliver(place, 5)
    assert read_all(place, [*reversed(uids), uids[0], Uid(99)]) == [(uid, b"n: %d" % n) for n, uid in enumerate(uids)]
    assert read_all(place, []) == []


def test_more_than_one_query_asks_for(place: Place) -> None:
    uids = deliver(place, 3)
    assert len(read_all(place, [*map(Uid, range(1, 2_000))])) == len(uids)


def test_a_file_renamed_meanwhile_is_found(place: Place) -> None:
    uids = deliver(place, 2)
    inbox = place.id()
    path = file_of(place, uids[0])
    path.rename(path.with_name(path.name + "F"))
    assert read_all(place, uids, inbox) == [(uids[0], b"n: 0"), (uids[1], b"n: 1")]


def test_a_file_whose_mailbox_is_being_renamed_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.account.create("old")
    old = place.account.mailbox("old").mailbox_id
    place.deliver(mailbox="old", body=b"n: 0")
    moved, looked = threading.Event(), threading.Event()
    save, look = queries.save_mailbox_name, sync.open_or_drop

    def save_late(*arguments: Any) -> None:
        moved.set()
        assert looked.wait(10)
        save(*arguments)

    def look_late(*arguments: Any) -> BinaryIO | None:
        looked.set()  # every try found nothing in the folder that the index still names
        return look(*arguments)

    monkeypatch.setattr(queries, "save_mailbox_name", save_late)
    monkeypatch.setattr(sync, "open_or_drop", look_late)
    renaming = threading.Thread(target=place.account.rename, args=("old", "new"))
    renaming.start()
    assert moved.wait(10)
    with place.account.open_message(old, Uid(1)) as file:
        assert file.read().endswith(b"n: 0")
    renaming.join(10)
    assert place.account.mailbox("new").mailbox_id == old


def test_a_file_that_is_gone_is_told_once_and_the_index_knows_then(place: Place) -> None:
    uids = deliver(place, 3)
    inbox = place.id()
    file_of(place, uids[1]).unlink()
    assert read_all(place, uids, inbox) == [(uids[0], b"n: 0"), (uids[1], None), (uids[2], b"n: 2")]
    assert read_all(place, uids, inbox) == [(uids[0], b"n: 0"), (uids[2], b"n: 2")]


def test_a_file_that_was_changed_is_not_read_as_the_message_the_index_knows(place: Place) -> None:
    uids = deliver(place, 2)
    inbox = place.id()
    file_of(place, uids[0]).write_bytes(b"something else")
    assert read_all(place, uids, inbox) == [(uids[0], None), (uids[1], b"n: 1")]


def test_what_is_expunged_while_others_are_read_is_not_read_wrongly(place: Place) -> None:
    uids = deliver(place, 3)
    opening = place.account.open_messages(place.id(), uids)
    first, file = next(opening)
    assert file is not None
    file.close()
    place.account.store_flags(place.id(), [uids[1]], FlagMode.ADD, SystemFlag.DELETED)
    place.account.expunge(place.id(), None)
    rest = {}
    for uid, opened in opening:
        assert opened is not None or uid == uids[1]
        if opened is not None:
            with opened:
                rest[uid] = opened.read().removeprefix(TRACE)
    assert (first, rest[uids[2]]) == (uids[0], b"n: 2")
    assert rest.get(uids[1], b"n: 1") == b"n: 1"
