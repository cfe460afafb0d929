"""Ascending numbers as ranges, and what is left of saved results."""

from array import array
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.services.imap.message_set import runs
from mailbox_app.services.imap.selected import _without

UIDS = st.sets(st.integers(1, 60)).map(sorted)


@given(UIDS)
def test_ranges_hold_the_numbers_and_do_not_touch(uids: list[int]) -> None:
    found = runs(array("I", uids))
    assert [uid for low, high in found for uid in range(low, high + 1)] == uids
    assert all(after[0] - before[1] > 1 for before, after in pairwise(found))


@given(UIDS, UIDS)
def test_removed_messages_leave_a_saved_result(uids: list[int], removed: list[int]) -> None:
    assert list(_without(uids, removed)) == [uid for uid in uids if uid not in removed]
