"""Twenty threads of two processes' stores on one account, changing everything at random, against a ledger of what they did.

After each round all of them wait, and the account must be exactly what the ledger says. A short run by default;
MAILBOX_MODEL_SECONDS for a longer one, MAILBOX_MODEL_SEED for another one.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mailbox_app.clock import SystemClock
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.store.interface import Account, Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended, Changes, FlagMode, SystemFlag
from tests.support.store_place import RecordingBus, snapshot

THREADS = 20
STEPS = 12
SEED = os.environ.get("MAILBOX_MODEL_SEED", "mail")
SECONDS = float(os.environ.get("MAILBOX_MODEL_SECONDS", "0"))
REF = AccountRef(AccountId(1), "example.org", "alice", 0)
DELETED = int(SystemFlag.DELETED)
FIXED = ("INBOX", "Sent", "Trash")
EXPECTED = {"store.no_such_mailbox", "store.mailbox_exists", "store.no_such_message"}

Place = tuple[int, int]
"""(mailbox id, UID): of one message for ever."""


@dataclass
class Ledger:
    """What was done, as sets whose order does not matter: a place is filled once and emptied once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    appended: dict[Place, bytes] = field(default_factory=dict)
    copied: dict[Place, Place] = field(default_factory=dict)
    """New place to the one it was copied, moved or restored from."""
    expunged: set[Place] = field(default_factory=set)
    moved: set[Place] = field(default_factory=set)
    restored: set[Place] = field(default_factory=set)
    deleted_mailboxes: set[int] = field(default_factory=set)
    dropped_off: list[bytes] = field(default_factory=list)
    """By another program, into INBOX."""

    def body(self, place: Place) -> bytes | None:
        """What a place holds or held; None for a message of another program."""
        while place in self.copied:
            place = self.copied[place]
        return self.appended.get(place)

    def filled(self) -> set[Place]:
        return self.appended.keys() | self.copied.keys()


class Actor(threading.Thread):
    """One session: does something, looks whether what it is told fits what it knew, goes on."""

    def __init__(self, number: int, store: MaildirStore, ledger: Ledger, maildir: Path) -> None:
        super().__init__(name=f"actor-{number}")
        self._chance = random.Random(f"{SEED} {number}")
        self._number = number
        self._store = store
        self._account: Account = store.account(REF)
        self._ledger = ledger
        self._maildir = maildir
        self._texts = itertools.count()
        self._known: dict[MailboxId, tuple[Changes, dict[int, int]]] = {}
        self.trouble: list[BaseException] = []
        self.steps = 0

    def run(self) -> None:
        works = [self.append, self.append, self.flag, self.flag, self.copy, self.move, self.expunge, self.expunge,
                 self.restore, self.rename, self.create_or_delete, self.drop_off, self.look, self.look]  # fmt: skip
        try:
            for _ in range(STEPS):
                try:
                    self._chance.choice(works)()
                except StoreError as error:
                    if error.code not in EXPECTED:
                        raise
                self.steps += 1
        except BaseException as error:
            self.trouble.append(error)

    def successor(self) -> Actor:
        """The same session in the next round: a thread runs once."""
        new = Actor(self._number, self._store, self._ledger, self._maildir)
        new._chance, new._texts, new._known = self._chance, self._texts, self._known
        return new

    def some_mailbox(self) -> MailboxId:
        boxes = self._account.mailboxes()
        return self._chance.choice(boxes).mailbox_id

    def some_uids(self, mailbox_id: MailboxId) -> list[Uid]:
        uids = [uid for uid, _, _ in self._account.changes(mailbox_id, Modseq(0)).changed]
        return self._chance.sample(uids, min(len(uids), self._chance.randrange(1, 6)))

    def text(self) -> bytes:
        return f"Subject: {self._number}.{next(self._texts)}\r\n\r\n{'x' * self._chance.randrange(200)}\r\n".encode()

    def append(self) -> None:
        mailbox_id = self.some_mailbox()
        texts = [self.text() for _ in range(self._chance.randrange(1, 4))]
        synced = self._chance.random() < 0.5
        staged = [self._store.stage(REF, Content(b"", text, len(text)), synced=synced) for text in texts]
        messages = [NewMessage(one, mailbox_id, self._chance.randrange(32)) for one in staged]
        results = self._account.append(messages, atomic=self._chance.random() < 0.3)
        with self._ledger.lock:
            for text, result in zip(texts, results, strict=True):
                if isinstance(result, Appended):
                    self._ledger.appended[result.mailbox_id, result.uid] = text

    def flag(self) -> None:
        mailbox_id = self.some_mailbox()
        mode, flags = self._chance.choice(list(FlagMode)), self._chance.randrange(32)
        keywords = self._chance.sample(["$A", "$B", "$C"], self._chance.randrange(2))
        self._account.store_flags(mailbox_id, self.some_uids(mailbox_id), mode, flags, keywords)

    def copy(self, *, move: bool = False) -> None:
        source, target = self.some_mailbox(), self.some_mailbox()
        done = self._account.copy(source, self.some_uids(source), target, move=move)
        with self._ledger.lock:
            for old, new in zip(done.source_uids, done.target_uids, strict=True):
                self._ledger.copied[target, new] = (source, old)
                if move:
                    self._ledger.moved.add((source, old))

    def move(self) -> None:
        self.copy(move=True)

    def expunge(self) -> None:
        mailbox_id = self.some_mailbox()
        uids = None if self._chance.random() < 0.5 else self.some_uids(mailbox_id)
        gone = self._account.expunge(mailbox_id, uids)
        with self._ledger.lock:
            places = {(int(mailbox_id), int(uid)) for uid in gone}
            assert not places & self._ledger.expunged
            self._ledger.expunged |= places

    def restore(self) -> None:
        ids = [one.retained_id for one in self._account.retained(limit=50).messages]
        done = self._account.restore(self._chance.sample(ids, min(len(ids), 3)))
        with self._ledger.lock:
            for one in done:
                old = (one.retained_id >> 32, one.retained_id & 0xFFFFFFFF)
                self._ledger.copied[one.mailbox_id, one.uid] = old
                self._ledger.restored.add(old)

    def rename(self) -> None:
        names = [box.name for box in self._account.mailboxes() if box.name not in FIXED and box.special_use is None]
        if names:
            self._account.rename(self._chance.choice(names), f"W{self._chance.randrange(8)}")

    def create_or_delete(self) -> None:
        if self._chance.random() < 0.7:
            self._account.create(f"W{self._chance.randrange(8)}")
            return
        boxes = {box.name: box.mailbox_id for box in self._account.mailboxes() if box.name.startswith("W")}
        if boxes:
            # whoever deletes by name may meet another mailbox that was renamed meanwhile: which one, only the end tells
            self._account.delete(self._chance.choice(sorted(boxes)))

    def drop_off(self) -> None:
        text = self.text()
        name = f"{int(time.time())}.{self._number}_{next(self._texts)}.other"
        (self._maildir / "tmp" / name).write_bytes(text)
        with self._ledger.lock:
            self._ledger.dropped_off.append(text)
        (self._maildir / "tmp" / name).rename(self._maildir / "new" / name)

    def look(self) -> None:
        """What changed since this session looked last, put on top of what it saw then, is what is there."""
        mailbox_id = self.some_mailbox()
        known = self._known.get(mailbox_id)
        if known is not None:
            before, flags = known
            news = self._account.changes(mailbox_id, before.highest_modseq)
            if not news.exists:
                del self._known[mailbox_id]
                return
            assert news.highest_modseq >= before.highest_modseq
            assert news.uidnext >= before.uidnext
            assert all(uid in flags or uid >= before.uidnext for uid, _, _ in news.changed)
            flags = {uid: old for uid, old in flags.items() if uid not in set(news.expunged)}
            flags |= {uid: now for uid, now, _ in news.changed}
            assert all(uid < news.uidnext for uid in flags)
            fresh = self._account.changes(mailbox_id, Modseq(0))
            if fresh.exists and fresh.highest_modseq == news.highest_modseq:
                assert {uid: now for uid, now, _ in fresh.changed} == flags
        fresh = self._account.changes(mailbox_id, Modseq(0))
        if fresh.exists:
            self._known[mailbox_id] = (fresh, {uid: now for uid, now, _ in fresh.changed})


def is_as_told(store: MaildirStore, ledger: Ledger) -> None:
    """Everybody waits: the account is what the ledger says, byte by byte and count by count."""
    account = store.account(REF)
    boxes = account.mailboxes()
    alive = {int(box.mailbox_id) for box in boxes}
    present: dict[Place, bytes] = {}
    total = Counter[str]()
    for box in boxes:
        seen = snapshot(account, box.mailbox_id)
        sizes = {
            message.uid: message.size_bytes for message in account.messages(box.mailbox_id, [*map(Uid, seen.uids)])
        }
        assert len(sizes) == len(seen.uids) == seen.info.message_count
        assert sum(sizes.values()) == seen.info.size_bytes
        assert sum(not flags & 1 for flags in seen.flags) == seen.info.unseen_count
        assert sum(bool(flags & DELETED) for flags in seen.flags) == seen.info.deleted_count
        assert all(modseq <= seen.info.highest_modseq for modseq in seen.modseqs)
        total.update(bytes=sum(sizes.values()), messages=len(sizes))
        for uid in seen.uids:
            assert uid < seen.info.uidnext
            with account.open_message(box.mailbox_id, Uid(uid)) as file:
                present[int(box.mailbox_id), uid] = file.read()
            assert len(present[int(box.mailbox_id), uid]) == sizes[Uid(uid)]
    assert account.usage() == (total["bytes"], total["messages"])
    gone = ledger.expunged | ledger.moved
    expected = {place for place in ledger.filled() - gone if place[0] in alive}
    strangers = present.keys() - expected
    assert expected <= present.keys()
    assert all(ledger.body(place) in {None, present[place]} for place in expected)
    # what nobody of us put there is what the other program did, each text at most once at the place it first got
    dropped = Counter(ledger.dropped_off)
    assert all(dropped[present[place]] == 1 for place in strangers)
    assert store.check(REF) == []
    retained_bytes, retained_messages = account.retained_usage()
    lost = {place for place in ledger.filled() - gone if place[0] not in alive}
    known = (ledger.expunged | lost) - ledger.restored
    kept = {(one >> 32, one & 0xFFFFFFFF) for one in all_retained(account)}
    assert known <= kept
    assert len(kept) == retained_messages
    assert (retained_bytes > 0) == (retained_messages > 0)


def all_retained(account: Account) -> list[int]:
    found, at = [], None
    while True:
        page = account.retained(before=at, limit=500)
        found += [one.retained_id for one in page.messages]
        if page.next is None:
            return found
        at = page.next


def test_twenty_threads_at_random(tmp_path: Path) -> None:
    stores = [MaildirStore(tmp_path, RecordingBus(), hostname="mx.example.org", clock=SystemClock()) for _ in range(2)]
    stores[0].account(REF).create("W0")
    ledger, maildir = Ledger(), tmp_path / "mail/example.org/alice/Maildir"
    actors = [Actor(number, stores[number % 2], ledger, maildir) for number in range(THREADS)]
    end = time.monotonic() + SECONDS
    while True:
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        trouble = [error for actor in actors for error in actor.trouble]
        if trouble:
            raise trouble[0]
        is_as_told(stores[0], ledger)
        if time.monotonic() > end:
            break
        actors = [actor.successor() for actor in actors]
    assert sum(actor.steps for actor in actors) == THREADS * STEPS
    for store in stores:
        store.flush_names()
    is_as_told(stores[1], ledger)
    before = {box.name: snapshot(stores[1].account(REF), box.mailbox_id) for box in stores[1].account(REF).mailboxes()}
    stores[1].rebuild(REF)
    is_as_told(stores[1], ledger)
    for name, seen in before.items():
        after = snapshot(stores[1].account(REF), seen.info.mailbox_id)
        assert (after.info.name, after.uids, after.flags) == (name, seen.uids, seen.flags)
    for store in stores:
        store.close()
