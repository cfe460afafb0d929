"""Moves from one account's mailbox to another's that fail on the way: nothing is lost, nothing stays twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Uid
from mailbox_app.proto.imap.acl import ALL_RIGHTS
from mailbox_app.services.imap import transfer as module
from mailbox_app.services.imap.namespaces import Located
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.transfer import transfer
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.maildir.backend import MaildirStore

ALICE = AccountRef(AccountId(1), "alice", "example.org", 0)
BOB = AccountRef(AccountId(2), "bob", "example.org", 0)
TARGET = Located(BOB, "INBOX", ALL_RIGHTS, "Users/bob@example.org/INBOX")


@contextmanager
def _store(folder: Path) -> Iterator[tuple[MaildirStore, MailboxId]]:
    store = MaildirStore(folder, LocalBus(), hostname="mail.example.org", clock=SystemClock())
    try:
        data = b"Subject: a\r\n\r\nb\r\n"
        for _ in range(3):
            message = NewMessage(store.stage(ALICE, Content(b"", data, len(data))), "INBOX", 0, ())
            store.account(ALICE).append([message], atomic=True)
        yield store, store.account(ALICE).mailbox("INBOX").mailbox_id
    finally:
        store.close()


def _fail_for(monkeypatch: pytest.MonkeyPatch, name: str, ref: AccountRef) -> None:
    real: Callable[..., object] = getattr(MaildirAccount, name)

    def fail(self: MaildirAccount, *args: object, **kwargs: object) -> object:
        if self._ref == ref:
            raise StoreError("store.full", "storage is not writable now", temporary=True)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MaildirAccount, name, fail)


def _flags(store: MaildirStore, ref: AccountRef) -> list[int]:
    account = store.account(ref)
    info = account.mailbox("INBOX")
    return [each.flags for each in account.messages(info.mailbox_id, [Uid(uid) for uid in range(1, info.uidnext)])]


@pytest.mark.parametrize("step", ["store_flags", "expunge"])
def test_a_move_whose_originals_stay_takes_its_copies_back(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _store(tmp_path) as (store, mailbox_id):
        with monkeypatch.context() as patch:
            _fail_for(patch, step, ALICE)
            with pytest.raises(StoreError):
                transfer(store, (ALICE, mailbox_id, ()), [Uid(1), Uid(3)], TARGET, move=True)
        assert _flags(store, BOB) == []
        assert _flags(store, ALICE) == [0, 0, 0]


def test_messages_without_end_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENDERED_BYTES", 100)
    with _store(tmp_path) as (store, mailbox_id):
        with pytest.raises(Refusal, match="Too many"):
            transfer(store, (ALICE, mailbox_id, ()), [Uid(1), Uid(2), Uid(3)], TARGET, move=False)
        assert _flags(store, BOB) == []
        assert not list(tmp_path.rglob("tmp/*"))
