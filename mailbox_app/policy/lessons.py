"""One lesson: a stored message is junk, or it is not. The classifier counts its words, its sender gets a name for it.

Blocks as long as reading the message takes; safe from any thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from mailbox_app.ids import AccountId
from mailbox_app.policy.content import Source, read_content
from mailbox_app.policy.identity import of_stored
from mailbox_app.policy.links import domains_of
from mailbox_app.policy.state.corpus import Corpus
from mailbox_app.policy.state.reputation import Reputation
from mailbox_app.policy.words import words_of
from mailbox_app.proto.header import Header, header_end

_HEADER_BYTES = 262_144
FIRST_KEPT = 200
"""Lessons from kept mail that every account may have, and ..."""
KEPT_FOR_EACH_SPAM = 4
MOST_KEPT = 4_000
"""... at most, fewer than the lessons that can be taken back."""


class Lessons:
    """Teaches classifier and reputation together."""

    def __init__(self, corpus: Corpus, reputation: Reputation, hostname: str) -> None:
        self._corpus = corpus
        self._reputation = reputation
        self._hostname = hostname

    def learn(
        self,
        account_id: AccountId,
        digest: bytes,
        message: bytes | BinaryIO,
        *,
        is_spam: bool,
        trusted: bool = True,
        kept: bool = False,
    ) -> bool:
        """Learn a whole message; False when it was learnt so before. `trusted`: it lies in one of our mailboxes, so the fields
        that say who sent it are ours. `kept`: wanted because its reader kept it, which says nothing about its sender that
        `note_kept` does not say. `StoreError` when nothing could be learnt."""
        start = message[:_HEADER_BYTES] if isinstance(message, bytes) else _start(message)
        end = header_end(start)
        header = Header.parse(start[:end])
        size_bytes = len(message) if isinstance(message, bytes) else os.fstat(message.fileno()).st_size
        content = read_content(Source(b"", message, size_bytes), header)
        words = words_of(header, content.text, domains_of(content), content.kinds)
        senders = of_stored(header, self._hostname).senders if trusted else ()
        learnt = self._corpus.learn(account_id, digest, words, is_spam=is_spam, senders=senders, kept=kept)
        if learnt is False:
            return False
        if kept:
            return True
        change = 1.0 if is_spam else 0.0
        back = 0.0 if learnt else -1.0  # it was said to be the other before
        self._reputation.note(
            account_id, senders, junk=change if is_spam else back, ham=back if is_spam else 1.0 - change
        )
        return True

    def room_for_kept(self, account_id: AccountId) -> int:
        """How many more kept messages an account's classifier is served with: so many as make it balanced, no more."""
        totals = self._corpus.totals(account_id)
        return min(MOST_KEPT, max(FIRST_KEPT, KEPT_FOR_EACH_SPAM * totals.spam)) - totals.ham

    def note_kept(self, account_id: AccountId, block: bytes, *, answered: bool) -> None:
        """A message that its reader kept: read, or even answered."""
        senders: Sequence[str] = of_stored(Header.parse(block), self._hostname).senders
        self._reputation.note(account_id, senders, ham=1.0 if answered else 0.0, seen=0.0 if answered else 1.0)


def _start(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), _HEADER_BYTES, 0)
