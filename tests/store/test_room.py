"""The quota of messages: counted in the transaction of the change, like that of bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.store.interface import NewMessage
from mailbox_app.store.model import Appended
from tests.support.store_place import Place


def limited(place: Place, messages: int) -> Place:
    return replace(place, ref=replace(place.ref, quota_messages=messages))


def test_one_message_too_many_fails_alone(place: Place) -> None:
    small = limited(place, 2)
    new = [NewMessage(small.stage(), "INBOX") for _ in range(3)]
    first, second, third = small.account.append(new)
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert isinstance(third, StoreError)
    assert third.code == "store.over_quota"
    assert small.account.usage()[1] == 2


def test_copies_count_and_moves_do_not(place: Place) -> None:
    small = limited(place, 3)
    for _ in range(2):
        small.deliver()
    uids = [Uid(1), Uid(2)]
    with pytest.raises(StoreError, match="over_quota"):
        small.account.copy(small.id(), uids, small.id("Sent"))
    assert small.account.usage()[1] == 2
    small.account.copy(small.id(), uids, small.id("Sent"), move=True)
    small.account.copy(small.id("Sent"), [Uid(1)], small.id())
    assert small.account.usage()[1] == 3


def test_replacing_a_message_needs_no_more_room(place: Place) -> None:
    small = limited(place, 1)
    small.deliver()
    small.account.replace(small.id(), Uid(1), NewMessage(small.stage(), small.id()))
    assert small.account.usage()[1] == 1
