"""Random operations on a store, compared with lists in memory after each step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailbox_app.ids import AccountId, AccountRef, Modseq, Uid
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import Appended, FlagMode, SystemFlag
from tests.support.clock import FakeClock
from tests.support.store_place import RecordingBus, Snapshot, snapshot

BOXES = ("INBOX", "Sent", "Trash", "Work")
DELETED = int(SystemFlag.DELETED)
MODES: dict[FlagMode, Callable[[int, int], int]] = {
    FlagMode.REPLACE: lambda old, new: new,
    FlagMode.ADD: lambda old, new: old | new,
    FlagMode.REMOVE: lambda old, new: old & ~new,
}


class StoreMachine(RuleBasedStateMachine):
    """Mailbox -> {uid: (flags, body)} is the whole model."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.store = self.open()
        self.ref = AccountRef(AccountId(1), "example.org", "alice", 0)
        self.account = self.store.account(self.ref)
        self.account.create("Work")
        self.ids = {box.name: box.mailbox_id for box in self.account.mailboxes()}
        self.model: dict[str, dict[int, tuple[int, bytes]]] = {name: {} for name in BOXES}
        self.last_uid = dict.fromkeys(BOXES, 0)
        self.modseq = 0
        self.kept: dict[int, tuple[str, int, bytes]] = {}
        self.known: dict[str, tuple[int, dict[int, int]]] = {}
        for name in BOXES:
            self.remember(name)

    def open(self) -> MaildirStore:
        return MaildirStore(Path(self.folder.name), RecordingBus(), hostname="mx.example.org", clock=self.clock)

    def remember(self, name: str) -> None:
        seen = snapshot(self.account, self.ids[name])
        self.known[name] = (seen.info.highest_modseq, dict(zip(seen.uids, seen.flags, strict=True)))

    def add(self, name: str, uid: int, flags: int, body: bytes) -> None:
        assert uid > self.last_uid[name]
        self.last_uid[name] = uid
        self.model[name][uid] = (flags, body)

    def pick(self, name: str, numbers: list[int]) -> list[Uid]:
        uids = sorted(self.model[name])
        return [Uid(uids[number % len(uids)]) for number in numbers] if uids else []

    @rule(
        name=st.sampled_from(BOXES),
        bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=4),
        flags=st.integers(0, 31),
    )
    def append(self, name: str, bodies: list[bytes], flags: int) -> None:
        texts = [b"Subject: x\r\n\r\n" + body for body in bodies]
        staged = [self.store.stage(self.ref, Content(b"", text, len(text))) for text in texts]
        results = self.account.append([NewMessage(one, self.ids[name], flags) for one in staged])
        for text, result in zip(texts, results, strict=True):
            assert isinstance(result, Appended)
            self.add(name, result.uid, flags, text)

    @rule(
        name=st.sampled_from(BOXES),
        numbers=st.lists(st.integers(0, 50), max_size=6),
        mode=st.sampled_from(list(FlagMode)),
        flags=st.integers(0, 31),
    )
    def store_flags(self, name: str, numbers: list[int], mode: FlagMode, flags: int) -> None:
        uids = self.pick(name, numbers)
        result = self.account.store_flags(self.ids[name], uids, mode, flags)
        for uid in set(uids):
            old, body = self.model[name][uid]
            self.model[name][uid] = (MODES[mode](old, flags), body)
        assert all(self.model[name][uid][0] == now for uid, now, _ in result.changed)

    @rule(
        name=st.sampled_from(BOXES),
        other=st.sampled_from(BOXES),
        numbers=st.lists(st.integers(0, 50), max_size=6),
        move=st.booleans(),
    )
    def copy(self, name: str, other: str, numbers: list[int], move: bool) -> None:
        done = self.account.copy(self.ids[name], self.pick(name, numbers), self.ids[other], move=move)
        for source, uid in zip(done.source_uids, done.target_uids, strict=True):
            flags, body = self.model[name][source]
            self.add(other, uid, flags, body)
            if move:
                del self.model[name][source]

    @rule(name=st.sampled_from(BOXES))
    def expunge(self, name: str) -> None:
        gone = self.account.expunge(self.ids[name], None)
        expected = [uid for uid, (flags, _) in sorted(self.model[name].items()) if flags & DELETED]
        assert list(gone) == expected
        for uid in gone:
            self.kept[self.ids[name] << 32 | uid] = (name, *self.model[name].pop(uid))

    @rule(numbers=st.lists(st.integers(0, 50), max_size=4))
    def restore(self, numbers: list[int]) -> None:
        keys = sorted(self.kept)
        chosen = sorted({keys[number % len(keys)] for number in numbers}) if keys else []
        done = self.account.restore(chosen)
        assert [one.retained_id for one in done] == chosen
        for one in done:
            name, flags, body = self.kept.pop(one.retained_id)
            assert one.mailbox == name
            self.add(name, one.uid, flags & ~DELETED, body)

    @rule(body=st.binary(max_size=30))
    def another_program_delivers(self, body: bytes) -> None:
        text = b"Subject: y\r\n\r\n" + body.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
        new = Path(self.folder.name) / "mail/example.org/alice/Maildir/new"
        (new / f"{len(self.model['INBOX'])}.{self.last_uid['INBOX']}.other").write_bytes(text)
        self.clock.skip(2)
        uid = max(snapshot(self.account, self.ids["INBOX"]).uids)
        self.add("INBOX", uid, 0, text)

    @rule()
    def follow_names(self) -> None:
        self.store.flush_names()

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.open()
        self.account = self.store.account(self.ref)

    @rule()
    def rebuild(self) -> None:
        self.store.flush_names()
        assert self.store.rebuild(self.ref) == sum(map(len, self.model.values()))

    @rule(name=st.sampled_from(BOXES))
    def look(self, name: str) -> None:
        self.remember(name)

    @invariant()
    def store_is_as_modelled(self) -> None:
        highest = self.modseq
        for name in BOXES:
            seen = snapshot(self.account, self.ids[name])
            state = {uid: flags for uid, (flags, _) in self.model[name].items()}
            assert dict(zip(seen.uids, seen.flags, strict=True)) == state
            assert list(seen.uids) == sorted(state)
            assert seen.info.uidnext > self.last_uid[name]
            self.counts_fit(name, seen)
            self.resync_equals_snapshot(name, state)
            highest = max(highest, seen.info.highest_modseq)
        assert highest >= self.modseq
        self.modseq = highest
        kept = {one.retained_id: (one.mailbox, one.flags) for one in self.account.retained(limit=500).messages}
        assert kept == {key: (name, flags) for key, (name, flags, _) in self.kept.items()}
        assert self.account.retained_usage() == (sum(len(body) for _, _, body in self.kept.values()), len(self.kept))
        messages = [body for box in self.model.values() for _, body in box.values()]
        assert self.account.usage() == (sum(map(len, messages)), len(messages))

    def counts_fit(self, name: str, seen: Snapshot) -> None:
        flags = [flags for flags, _ in self.model[name].values()]
        info = seen.info
        counts = (info.message_count, info.unseen_count, info.deleted_count, info.size_bytes)
        assert counts == (
            len(flags),
            sum(not one & SystemFlag.SEEN for one in flags),
            sum(bool(one & DELETED) for one in flags),
            sum(len(body) for _, body in self.model[name].values()),
        )

    def resync_equals_snapshot(self, name: str, state: dict[int, int]) -> None:
        since, known = self.known[name]
        changes = self.account.changes(self.ids[name], Modseq(since))
        now = {uid: flags for uid, flags in known.items() if uid not in set(changes.expunged)}
        now |= {uid: flags for uid, flags, _ in changes.changed}
        assert now == state
        assert all(modseq > since for _, _, modseq in changes.changed)

    def teardown(self) -> None:
        for name in BOXES:
            for uid, (_, body) in self.model[name].items():
                with self.account.open_message(self.ids[name], Uid(uid)) as file:
                    assert file.read() == body
        assert list(self.store.check(self.ref)) == []
        self.store.close()
        self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
