"""A store in a temporary folder, with a clock that stands still and a bus that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailbox_app.events.hints import Subscription
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Uid
from mailbox_app.store.interface import Account, Content, NewMessage, Staged, Store
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended, MailboxInfo
from tests.support.clock import FakeClock

MESSAGE = b"From: Alice <alice@example.org>\r\nSubject: hello\r\n\r\nfirst line\r\nsecond line\r\n"
TRACE = b"Return-Path: <a@example.net>\r\n"


@dataclass
class RecordingBus:
    topics: list[str] = field(default_factory=list)

    def publish(self, topic: str) -> None:
        self.topics.append(topic)

    def subscribe(self, topic: str, callback: Callable[[], None]) -> Subscription:
        raise NotImplementedError


@dataclass
class Place:
    """A store, one account of it, and short words for what tests do all the time."""

    store: Store
    ref: AccountRef
    bus: RecordingBus
    clock: FakeClock
    data_dir: Path

    @property
    def account(self) -> Account:
        return self.store.account(self.ref)

    @property
    def maildir(self) -> Path:
        return self.data_dir / "mail" / self.ref.domain / self.ref.localpart / "Maildir"

    def id(self, name: str = "INBOX") -> MailboxId:
        return self.account.mailbox(name).mailbox_id

    def stage(self, body: bytes = MESSAGE) -> Staged:
        return self.store.stage(self.ref, Content(TRACE, body, len(TRACE) + len(body)))

    def deliver(self, mailbox: str = "INBOX", body: bytes = MESSAGE, **more: object) -> Appended:
        (result,) = self.account.append([NewMessage(self.stage(body), mailbox, **more)])  # type: ignore[arg-type]
        assert isinstance(result, Appended), result
        return result

    def uids(self, name: str = "INBOX") -> list[int]:
        return list(snapshot(self.account, self.id(name)).uids)

    def read(self, uid: int, name: str = "INBOX") -> bytes:
        with self.account.open_message(self.id(name), Uid(uid)) as file:
            return file.read()


@dataclass(frozen=True)
class Snapshot:
    info: MailboxInfo
    uids: list[int]
    flags: list[int]
    modseqs: list[int]


def snapshot(account: Account, mailbox_id: MailboxId) -> Snapshot:
    """The whole flag state of a mailbox; what the blocks count is what they have."""
    outline = account.outline(mailbox_id)
    info = outline.info
    numbers = [block.number for block in outline.blocks]
    rows = account.blocks(mailbox_id, numbers, info.highest_modseq, info.uidnext)
    assert [len(block.uids) for block in rows] == [block.message_count for block in outline.blocks]
    assert [sum(not flags & 1 for flags in block.flags) for block in rows] == [b.unseen_count for b in outline.blocks]
    uids, flags, modseqs = ([], [], [])  # type: tuple[list[int], list[int], list[int]]
    for block in rows:
        uids += block.uids
        flags += block.flags
        modseqs += block.modseqs
    return Snapshot(info, uids, flags, modseqs)


def _maildir(data_dir: Path, bus: RecordingBus, clock: FakeClock) -> MaildirStore:
    return MaildirStore(data_dir, bus, hostname="mx.example.org", clock=clock)


BACKENDS = (_maildir,)


@pytest.fixture(params=BACKENDS, ids=lambda make: make.__name__.strip("_"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    bus, clock = RecordingBus(), FakeClock()
    store = request.param(tmp_path, bus, clock)
    yield Place(store, AccountRef(AccountId(7), "example.org", "alice", 0), bus, clock, tmp_path)
    store.close()
