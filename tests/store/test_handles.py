from __future__ import annotations

import os

from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.store_place import Place


def test_an_index_that_nobody_uses_is_closed_and_opens_again_by_itself(place: Place) -> None:
    place.deliver()
    index = place.data_dir / "mail" / place.ref.domain / place.ref.localpart / "index.db"

    def held_open() -> bool:
        return any(os.path.realpath(f"/proc/self/fd/{name}") == str(index) for name in os.listdir("/proc/self/fd"))

    store = place.store
    assert isinstance(store, MaildirStore)
    store.let_go(3600)
    assert held_open()
    store.let_go(-1)
    assert not held_open()
    assert place.uids() == [1]
