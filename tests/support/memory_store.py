"""A store in memory whose next steps can be made to fail: for tests of what happens then."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef, MailboxId, Modseq, Uid
from mailbox_app.proto.message import Rendered
from mailbox_app.store.interface import Content, NewMessage, Staged
from mailbox_app.store.model import Appended

_NOTHING = Rendered(b"", b"", b"", b"", b"", b"", b"")


@dataclass
class MemoryAccount:
    ref: AccountRef
    store: MemoryStore
    messages: list[bytes] = field(default_factory=list)
    fails_with: Exception | None = None
    quota_bytes: int | None = None

    def append(self, messages: Sequence[NewMessage], *, atomic: bool = False) -> Sequence[Appended | Exception]:
        answers: list[Appended | Exception] = []
        for message in messages:
            content = self.store.staged.pop(message.staged.path)
            quota = self.ref.quota_bytes if self.quota_bytes is None else self.quota_bytes
            if self.fails_with is not None:
                answers.append(self.fails_with)
            elif quota and self.usage()[0] + len(content) > quota:
                answers.append(StoreError("store.over_quota", "the mailbox is full", temporary=True))
                if atomic:
                    raise answers[-1]
            else:
                self.messages.append(content)
                answers.append(Appended(MailboxId(1), 1, Uid(len(self.messages)), Modseq(len(self.messages))))
        return answers

    def usage(self) -> tuple[int, int]:
        return sum(map(len, self.messages)), len(self.messages)


class MemoryStore:
    def __init__(self) -> None:
        self.accounts: dict[str, MemoryAccount] = {}
        self.staged: dict[str, bytes] = {}
        self.stage_fails_with: Exception | None = None
        self._lock = threading.Lock()
        self._count = 0

    def account(self, ref: AccountRef) -> MemoryAccount:
        with self._lock:
            account = self.accounts.setdefault(f"{ref.localpart}@{ref.domain}", MemoryAccount(ref, self))
            account.ref = ref
            return account

    def of(self, address: str) -> MemoryAccount:
        localpart, _, domain = address.partition("@")
        return self.accounts.setdefault(address, MemoryAccount(AccountRef(0, domain, localpart, 0), self))  # type: ignore[arg-type]

    def stage(self, ref: AccountRef, content: Content, *, synced: bool = True) -> Staged:
        if self.stage_fails_with is not None:
            raise self.stage_fails_with
        if isinstance(content.body, bytes):
            data = content.prefix + content.body
        else:
            content.body.seek(0)
            data = content.prefix + content.body.read()
        assert len(data) == content.size_bytes
        return self._keep(data)

    def link(self, staged: Staged, ref: AccountRef) -> Staged:
        return self._keep(self.staged[staged.path])

    def discard(self, staged: Staged) -> None:
        self.staged.pop(staged.path, None)

    def _keep(self, data: bytes) -> Staged:
        with self._lock:
            self._count += 1
            path = f"staged-{self._count}"
            self.staged[path] = data
        return Staged(path, len(data), _NOTHING)
