"""Asking the search index which messages may hold a text. Reads only, blocks, keeps nothing open."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.text.folding import fold
from mailbox_app.store.maildir.files import unlink_quietly
from mailbox_app.store.search import search_queries
from mailbox_app.store.search.files import SEARCH_FILE, account_root, reading

SHORTEST = 3
"""Characters of a text that an index of trigrams can tell anything about."""
_TRIGRAMS = 24
"""Asked for at most, spread over the text: more would cost more than they rule out."""
_SIDES = {"header": 0, "body": 1, "text": None}

Where = Literal["header", "body", "text"]


def _no_uids() -> array[int]:
    return array("I")


@dataclass(frozen=True, slots=True)
class Candidates:
    """What has to be looked at: `uids`, `gaps`, and every message from UID `indexed_below` on; all others lack the text."""

    uids: array[int] = field(default_factory=_no_uids)
    """Ascending, typecode I; some may be gone from the mailbox."""
    indexed_below: int = 1
    gaps: array[int] = field(default_factory=_no_uids)
    """UIDs below that which could not be indexed, ascending."""


class SearchIndex:
    """The indexes of all accounts; safe from any thread."""

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self._data_dir = os.fspath(data_dir)
        self._log = structlog.get_logger("search")

    def candidates(
        self, ref: AccountRef, mailbox_id: MailboxId, needle: str, where: Where, *, uidvalidity: int = 0
    ) -> Candidates:
        """Messages whose header, body or either may hold the needle, folded or not.

        The needle's fold has `SHORTEST` characters or more (ValueError). With `uidvalidity` an index of messages that had
        the mailbox's UIDs before counts as none. A damaged file is removed, to be made anew, and counts as none too.
        """
        match = _match(fold(needle))
        path = os.path.join(account_root(self._data_dir, ref), SEARCH_FILE)
        try:
            with reading(path) as connection:
                if connection is None:
                    return Candidates()
                row = search_queries.mailbox(connection, mailbox_id)
                if row is None or uidvalidity not in (0, row.uidvalidity):
                    return Candidates()
                return Candidates(
                    search_queries.candidates(connection, mailbox_id, match, _SIDES[where]),
                    row.next_uid,
                    search_queries.gaps(connection, mailbox_id),
                )
        except StoreError as error:
            if error.code == "store.damaged":
                self._log.error("search index damaged, removing it", account_id=ref.account_id, exc_info=error)
                unlink_quietly(path)
            elif Path(path).exists():
                self._log.warning("search index not readable", account_id=ref.account_id, error=error.code)
            return Candidates()


def _match(needle: str) -> str:
    """All trigrams as a full-text query."""
    count = len(needle) - SHORTEST + 1
    if count < 1:
        raise ValueError("a text of fewer than three characters")
    step = max(1, count // _TRIGRAMS)
    starts = dict.fromkeys((*range(0, count, step), count - 1))
    trigrams = dict.fromkeys(needle[start : start + SHORTEST] for start in starts)
    return " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams)
