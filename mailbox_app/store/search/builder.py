"""Writes the search indexes, following the mailboxes: behind delivery, a bounded batch at a time, resumable anywhere.

`IndexBuilder.batches` is a walk through one account that stops after each batch, so that whoever drives it decides about
pauses. A batch is one transaction: texts of new documents, places of messages, and how far the mailbox is done. A killed
process goes on after the last batch that was committed. Only one process may have a builder.

Expunged messages are not followed one by one: their places cost only room. When a quarter of a mailbox's places
are of gone messages they are swept out, and when a third of all documents are dead the index is made anew
beside the old one, which answers until the new one is whole.
"""

from __future__ import annotations

import os
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId, Modseq, Uid
from mailbox_app.store.interface import Account, Store
from mailbox_app.store.model import MailboxInfo, Outline
from mailbox_app.store.search import search_queries
from mailbox_app.store.search.extracting import MessageTexts, extract
from mailbox_app.store.search.files import REBUILT_FILE, SEARCH_FILE, BuiltFile, account_root, remove, size_bytes
from mailbox_app.store.search.search_queries import MailboxRow

_BATCH_LENGTH = 400_000
"""Characters a transaction takes, unless its last message has more: some 30 ms of SQLite's time."""
_BATCH_MESSAGES = 100
_FEWEST_GONE = 200
"""Fewer are not worth a sweep, nor so few dead documents a new index."""


class IndexBuilder:
    """Builds the indexes of all accounts, one at a time; not for two threads at once."""

    def __init__(self, store: Store, data_dir: str | os.PathLike[str]) -> None:
        self._store = store
        self._data_dir = os.fspath(data_dir)
        self._log = structlog.get_logger("search")

    def waiting(self, ref: AccountRef) -> int:
        """How many messages of an account are not indexed yet."""
        root = account_root(self._data_dir, ref)
        if not os.path.isdir(root):
            return 0
        account = self._store.account(ref)
        count = 0
        with _opened(os.path.join(root, SEARCH_FILE)) as file:
            for info in _unfinished(account, file):
                with _passing_over_deleted():
                    count += _Walk(account, file, account.outline(info.mailbox_id)).waiting()
        return count

    def batches(self, ref: AccountRef) -> Iterator[int]:
        """Bring an account's index up to date; after each batch the number of messages that were looked at.

        A damaged index is removed and begun again. StoreError when storage fails: come again later.
        """
        root = account_root(self._data_dir, ref)
        if not os.path.isdir(root):  # removed, or never used: opening it would make it
            return
        try:
            yield from self._update(ref, root, SEARCH_FILE)
            if os.path.exists(os.path.join(root, REBUILT_FILE)):
                yield from self._update(ref, root, REBUILT_FILE)
                self._replace(root)
        except StoreError as error:
            if error.code not in ("store.damaged", "store.newer"):
                raise
            self._log.error("search index damaged, making it anew", account_id=ref.account_id, exc_info=error)
            self.discard(ref)
            yield from self._update(ref, root, SEARCH_FILE)

    def size_bytes(self, ref: AccountRef) -> int:
        """Disk space of an account's index."""
        return size_bytes(account_root(self._data_dir, ref))

    def discard(self, ref: AccountRef) -> None:
        """Throw an account's index away; until it is made anew every search reads messages."""
        root = account_root(self._data_dir, ref)
        for name in (SEARCH_FILE, REBUILT_FILE):
            remove(os.path.join(root, name))

    def _update(self, ref: AccountRef, root: str, name: str) -> Iterator[int]:
        account = self._store.account(ref)
        with _opened(os.path.join(root, name)) as file:
            swept = _forget_deleted(account, file)
            for info in _unfinished(account, file):
                with _passing_over_deleted():
                    walk = _Walk(account, file, account.outline(info.mailbox_id))
                    yield from walk.index_new()
                    if walk.is_worn():
                        yield from walk.sweep()
                        swept = True
                if not file.is_current():
                    return
            if swept and self._is_worn(file) and name == SEARCH_FILE:
                self._log.info("search index has many dead rows, making it anew", account_id=ref.account_id)
                BuiltFile(os.path.join(root, REBUILT_FILE)).close()

    def _is_worn(self, file: BuiltFile) -> bool:
        """Drops documents that no message has; whether more than a third of the trigrams' rows are dead."""
        with file.db.transaction() as connection:
            search_queries.drop_unused(connection)
            used, ever = search_queries.document_counts(connection)
        return ever - used > max(_FEWEST_GONE, ever // 3)

    def _replace(self, root: str) -> None:
        """Put the new index into the old one's place; both are closed here, and readers keep the file they opened."""
        new, old = os.path.join(root, REBUILT_FILE), os.path.join(root, SEARCH_FILE)
        if not os.path.exists(new) or os.path.exists(new + "-wal"):
            return  # somebody still reads it, or it went away: next time
        remove(old)
        with suppress(FileNotFoundError):
            os.rename(new, old)


@contextmanager
def _opened(path: str) -> Iterator[BuiltFile]:
    file = BuiltFile(path)
    try:
        yield file
    finally:
        file.close()


def _forget_deleted(account: Account, file: BuiltFile) -> bool:
    """Mailboxes that are gone; whether there were any."""
    with file.db.reading() as connection:
        known = set(search_queries.mailboxes(connection))
    gone = known.difference(info.mailbox_id for info in account.mailboxes())
    for number in gone:
        with file.db.transaction() as connection:
            search_queries.forget_mailbox(connection, number)
    return bool(gone)


def _unfinished(account: Account, file: BuiltFile) -> list[MailboxInfo]:
    """Mailboxes with something to do, as far as the account's own counts tell."""
    with file.db.reading() as connection:
        rows = search_queries.mailboxes(connection)
        with_gaps = set(search_queries.mailboxes_with_gaps(connection))
    found = []
    for info in account.mailboxes():
        row = rows.get(info.mailbox_id)
        if (
            row is None
            or row.uidvalidity != info.uidvalidity
            or row.next_uid < info.uidnext
            or info.mailbox_id in with_gaps
            or _is_worn(row, info)
        ):
            found.append(info)
    return found


def _is_worn(row: MailboxRow, info: MailboxInfo) -> bool:
    """Whether so many places are of gone messages that they are worth a sweep."""
    return row.place_count - info.message_count > max(_FEWEST_GONE, row.place_count // 4)


@contextmanager
def _passing_over_deleted() -> Iterator[None]:
    """A mailbox that was deleted while it was looked at is none of ours any more."""
    try:
        yield
    except StoreError as error:
        if error.code != "store.no_such_mailbox":
            raise


class _Walk:
    """One mailbox, from where its index ends."""

    def __init__(self, account: Account, file: BuiltFile, outline: Outline) -> None:
        self._account = account
        self._file = file
        self._db = file.db
        self._outline = outline
        self._id = outline.info.mailbox_id
        with self._db.reading() as connection:
            row = search_queries.mailbox(connection, self._id)
        if row is not None and row.uidvalidity != outline.info.uidvalidity:  # its UIDs mean other messages now
            with self._db.transaction() as connection:
                search_queries.forget_mailbox(connection, self._id)
            row = None
        self._row = row or MailboxRow(self._id, outline.info.uidvalidity, 1, 0)

    def waiting(self) -> int:
        """Messages that are not indexed."""
        row, bits = self._row, self._outline.block_bits
        later = [block for block in self._outline.blocks if block.number > row.next_uid >> bits]
        count = sum(block.message_count for block in later)
        if row.next_uid < self._outline.info.uidnext:
            count += sum(uid >= row.next_uid for uid in self._uids(row.next_uid >> bits))
        with self._db.reading() as connection:
            return count + len(search_queries.gaps(connection, self._id))

    def index_new(self) -> Iterator[int]:
        """Messages that could not be read before, then those that came since."""
        with self._db.reading() as connection:
            gaps = search_queries.gaps(connection, self._id)
        if gaps:
            yield from self._index(gaps, filling=True)
        info, bits = self._outline.info, self._outline.block_bits
        for block in self._outline.blocks:
            if block.number >= self._row.next_uid >> bits:
                uids = [uid for uid in self._uids(block.number) if uid >= self._row.next_uid]
                yield from self._index(uids)
        if self._row.next_uid < info.uidnext:
            self._row.next_uid = info.uidnext
            with self._db.transaction() as connection:
                search_queries.save_mailbox(connection, self._row)

    def is_worn(self) -> bool:
        """Whether to sweep."""
        return _is_worn(self._row, self._outline.info)

    def sweep(self) -> Iterator[int]:
        """Take out places of messages that are gone."""
        bits = self._outline.block_bits
        used = {block.number for block in self._outline.blocks}
        uid, kept = 0, 0
        while True:
            with self._db.reading() as connection:
                places = search_queries.places_after(connection, self._id, uid, 1 << bits)
            if not places:
                break
            number = places[0] >> bits
            mine = [place for place in places if place >> bits == number]
            lost = set(mine).difference(self._uids(number) if number in used else ())
            with self._db.transaction() as connection:
                search_queries.delete_places(connection, self._id, lost)
            kept += len(mine) - len(lost)
            uid = (number + 1) << bits
            yield 0
        self._row.place_count = kept
        with self._db.transaction() as connection:
            search_queries.save_mailbox(connection, self._row)

    def _uids(self, block: int) -> array[int]:
        info = self._outline.info
        (rows,) = self._account.blocks(self._id, [block], Modseq(info.highest_modseq), Uid(info.uidnext))
        return rows.uids

    def _index(self, uids: Sequence[int], *, filling: bool = False) -> Iterator[int]:
        """All these messages, in batches; `filling` when they are gaps."""
        for start in range(0, len(uids), _BATCH_MESSAGES):
            if not self._file.is_current():  # asking a removed account for messages would make it again
                raise StoreError("store.no_such_mailbox", "no such mailbox")
            batch = _Batch(self._account, self._id, uids[start : start + _BATCH_MESSAGES])
            with self._db.reading() as connection:
                batch.look_up(connection)
            while batch.has_more():
                batch.read_some()
                with self._db.transaction() as connection:
                    done = batch.write(connection)
                    if filling:
                        search_queries.close_gaps(connection, batch.settled())
                    else:
                        self._row.next_uid = batch.next_uid
                    self._row.place_count += done
                    search_queries.save_mailbox(connection, self._row)
                yield done


class _Batch:
    """Some messages of one mailbox on their way into the index."""

    def __init__(self, account: Account, mailbox_id: MailboxId, uids: Sequence[int]) -> None:
        self._account = account
        self._id = mailbox_id
        self._base = mailbox_id << search_queries.UID_BITS
        asked = [Uid(uid) for uid in uids]
        self._rows: list[tuple[int, bytes]] = list(account.rendered(mailbox_id, asked, ("email_id",)))  # type: ignore[arg-type]
        self._rows.reverse()
        self._known: dict[bytes, int] = {}
        self._taken: list[tuple[int, bytes]] = []
        self._texts: dict[bytes, MessageTexts] = {}
        self._gaps: list[int] = []
        self._asked = uids
        self.next_uid = 0

    def look_up(self, connection: sqlite3.Connection) -> None:
        """Which contents are indexed already."""
        self._known = search_queries.documents(connection, [email_id for _, email_id in self._rows])

    def has_more(self) -> bool:
        """Whether messages are left; at least once true, for a batch whose messages are all gone."""
        return not self.next_uid or bool(self._rows)

    def read_some(self) -> None:
        """Read messages until there is enough for a transaction."""
        self._taken, self._texts = [], {}
        length = 0
        while self._rows and length < _BATCH_LENGTH:
            uid, email_id = self._rows.pop()
            if email_id not in self._known and email_id not in self._texts:
                texts = self._read(uid)
                if texts is None:
                    continue
                self._texts[email_id] = texts
                length += len(texts.header) + len(texts.body)
            self._taken.append((uid, email_id))
        self.next_uid = self._rows[-1][0] if self._rows else self._asked[-1] + 1

    def _read(self, uid: int) -> MessageTexts | None:
        """None when it cannot be read, now or ever."""
        try:
            for row in self._account.rendered(self._id, [Uid(uid)], ("parts",)):
                with self._account.open_message(self._id, Uid(uid)) as opened:
                    return extract(opened, row[1])  # type: ignore[arg-type]
        except (StoreError, OSError) as error:
            if isinstance(error, OSError) or error.temporary:
                self._gaps.append(self._base + uid)
        return None

    def write(self, connection: sqlite3.Connection) -> int:
        """Into the index; the number of messages that got a place."""
        rows: list[tuple[int, str]] = []
        for email_id, texts in self._texts.items():
            number = search_queries.insert_document(connection, email_id, cut=texts.cut)
            self._known[email_id] = number
            rows += (2 * number, texts.header), (2 * number + 1, texts.body)
        search_queries.insert_texts(connection, rows)
        places = [(self._base + uid, self._known[email_id]) for uid, email_id in self._taken]
        search_queries.insert_places(connection, places)
        search_queries.set_gaps(connection, self._gaps)
        return len(places)

    def settled(self) -> list[int]:
        """Keys up to `next_uid` that are indexed or gone."""
        gaps = set(self._gaps)
        return [key for uid in self._asked if uid < self.next_uid and (key := self._base + uid) not in gaps]
