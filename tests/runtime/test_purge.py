"""The core removes expunged mail whose time is over, in steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.runtime.core import Purge
from tests.support.clock import FakeClock

REFS = [AccountRef(AccountId(number), "example.org", f"u{number}", 0) for number in (1, 2, 3)]


class PausingClock(FakeClock):
    """Waiting takes no time and is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def offload() -> Iterator[Offload]:
    made = Offload(1)
    yield made
    made.close()


async def test_each_account_is_purged_step_by_step_with_pauses(offload: Offload) -> None:
    left = {1: 2, 2: 0, 3: 1}
    steps: list[int] = []

    def purge(ref: AccountRef) -> bool:
        steps.append(ref.account_id)
        left[ref.account_id] -= 1
        return left[ref.account_id] >= 0

    clock = PausingClock()
    await Purge(lambda: REFS, purge, offload, clock).run()
    assert steps == [1, 1, 1, 2, 3, 3]
    assert len(clock.pauses) == 3
    assert min(clock.pauses) > 0


async def test_trouble_with_one_account_keeps_no_other_waiting(offload: Offload) -> None:
    done: list[int] = []

    def purge(ref: AccountRef) -> bool:
        if ref.account_id == 1:
            raise StoreError("store.busy", "busy", temporary=True)
        done.append(ref.account_id)
        return False

    await Purge(lambda: REFS, purge, offload, FakeClock()).run()
    assert done == [2, 3]
