"""A mailbox in memory that can be searched: blocks of eight UIDs, counted reads, an index whose candidates are too many."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import SimpleNamespace
from typing import BinaryIO, cast

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.proto.message import scan
from mailbox_app.proto.text.folding import fold
from mailbox_app.services.imap.searching import Places
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.interface import Account
from mailbox_app.store.model import BlockCount, BlockRows, MailboxInfo, Outline
from mailbox_app.store.search.index import Candidates, SearchIndex

BITS = 3
REF = AccountRef(AccountId(1), "alice", "example.org", 0)


@dataclass
class Mail:
    uid: int
    flags: int
    modseq: int
    internal_seconds: int
    data: bytes
    saved_seconds: int = 0


class SearchedMailbox:
    """What a search reads of an account, and `SearchIndex` besides."""

    def __init__(self, mails: Sequence[Mail], keywords: tuple[str, ...] = (), indexed_below: int = 0) -> None:
        self.mails = {mail.uid: mail for mail in mails}
        self._rendered = {mail.uid: scan(mail.data) for mail in mails}
        self._keywords = keywords
        self._indexed_below = indexed_below
        self.blocks_read: list[int] = []
        self.headers_read = 0
        self.texts_read: list[int] = []

    def view(self) -> Selected:
        return Selected(self.outline(MailboxId(1)), REF, "lrs", None, read_only=False)

    def places(self, now_seconds: float = 0.0) -> Places:
        index = cast("SearchIndex", self) if self._indexed_below else None
        return Places(lambda: cast("Account", self), index, now_seconds)

    # as an account
    def outline(self, mailbox_id: MailboxId) -> Outline:
        unseen = sum(1 for mail in self.mails.values() if not mail.flags & 1)
        highest = max((mail.modseq for mail in self.mails.values()), default=1)
        info = MailboxInfo(
            mailbox_id, "INBOX", 1, Uid(max(self.mails, default=0) + 1), Modseq(highest), len(self.mails), unseen, 0, 0,
            Uid(1), subscribed=False, special_use=None, keywords=self._keywords,
        )  # fmt: skip
        counts = []
        for number, group in groupby(sorted(self.mails), lambda uid: uid >> BITS):
            uids = list(group)
            counts.append(BlockCount(number, len(uids), sum(1 for uid in uids if not self.mails[uid].flags & 1)))
        return Outline(info, BITS, counts, None, 0, "")

    def blocks(self, mailbox_id: MailboxId, numbers: Sequence[int], as_of: Modseq, below: Uid) -> Sequence[BlockRows]:
        found = []
        for number in numbers:
            self.blocks_read.append(number)
            mails = [self.mails[uid] for uid in sorted(self.mails) if uid >> BITS == number]
            found.append(
                BlockRows(
                    number,
                    array("I", [mail.uid for mail in mails]),
                    array("Q", [mail.flags for mail in mails]),
                    array("Q", [mail.modseq for mail in mails]),
                    (),
                )
            )
        return found

    def rendered(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], columns: Sequence[str]
    ) -> Iterator[tuple[object, ...]]:
        for uid in sorted(uids):
            mail, rendered = self.mails.get(uid), self._rendered[uid]
            if mail is None:
                continue
            self.headers_read += "header" in columns
            row = SimpleNamespace(
                internal_seconds=mail.internal_seconds,
                saved_seconds=mail.saved_seconds,
                size_bytes=len(mail.data),
                **{name: getattr(rendered, name) for name in ("header", "envelope", "parts", "email_id", "thread_id")},
            )
            yield (uid, *[getattr(row, column) for column in columns])

    def open_message(self, mailbox_id: MailboxId, uid: Uid) -> BinaryIO:
        if uid not in self.mails:
            raise StoreError("store.no_such_message", "no such message")
        self.texts_read.append(uid)
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the search closes it
        file.write(self.mails[uid].data)
        return cast("BinaryIO", file)

    # as the index
    def candidates(
        self, ref: AccountRef, mailbox_id: MailboxId, needle: str, where: str, *, uidvalidity: int = 0
    ) -> Candidates:
        """Who has the needle's first three letters, on either side; the index never knows less."""
        letters = fold(needle)[:3]
        uids = [
            uid
            for uid, mail in sorted(self.mails.items())
            if uid < self._indexed_below and letters in fold(mail.data.decode("utf-8", "replace"))
        ]
        return Candidates(array("I", uids), self._indexed_below)
