"""A command's message set over the session's view."""

from __future__ import annotations

from collections.abc import Sequence

from mailbox_app.proto.imap.sequence import SequenceSet, indexes_of_numbers, indexes_of_uids
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.selected import Selected


def message_indexes(view: Selected, wanted: SequenceSet, *, uid: bool) -> Sequence[int]:
    """Positions, ascending. UIDs that do not exist are passed over, numbers beyond the mailbox are BAD. RFC 9051 6.4.9, 9."""
    if uid:
        return indexes_of_uids(wanted, view.uids)
    indexes = indexes_of_numbers(wanted, view.count)
    if indexes is None:
        raise Refusal("No such message number", status="BAD")
    return indexes
