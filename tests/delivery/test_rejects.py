"""What a score refused is kept for its recipients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.delivery.rejects import Rejects
from mailbox_app.errors import StoreError
from mailbox_app.events.bus import LocalBus
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.policy import Bench, account

SETTINGS = "[junk]\nrejects_max_messages = 3\nrejects_max_bytes = 65536\n"


class Place:
    """A store with one account."""

    def __init__(self, folder: Path, settings: str = SETTINGS, quota_bytes: int = 0) -> None:
        self.bench = Bench(folder, settings)
        self.store = MaildirStore(folder, LocalBus(), hostname="mail.example.org", clock=self.bench.clock)
        self.rejects = Rejects(self.store, self.bench.offload, self.bench.clock, lambda: self.bench.config)
        self.account = account(1, "alice@example.org")

    def keep(self, body: bytes) -> list[str]:
        mail = Mail(Envelope("x@example.net"), [Recipient("alice@example.org", [self.account])], b"", body, len(body))
        return list(asyncio.run(self.rejects.keep(mail)))

    def subjects(self) -> list[bytes]:
        store = self.store.account(self.account.ref)
        mailbox = store.mailbox("Rejects").mailbox_id
        uids = store.sizes(mailbox).uids
        found = []
        for uid in uids:
            with store.open_message(mailbox, uid) as file:  # type: ignore[arg-type]
                found.append(file.read())
        return found

    def close(self) -> None:
        self.store.close()
        self.bench.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def test_a_refused_message_is_kept_with_its_sender(place: Place) -> None:
    assert place.keep(b"Subject: one\r\n\r\nbody\r\n") == ["alice@example.org"]
    assert place.subjects() == [b"Return-Path: <x@example.net>\r\nSubject: one\r\n\r\nbody\r\n"]


def test_the_oldest_go_first(place: Place) -> None:
    for number in range(5):
        place.keep(b"Subject: %d\r\n\r\nbody\r\n" % number)
    assert [each.splitlines()[1] for each in place.subjects()] == [b"Subject: 2", b"Subject: 3", b"Subject: 4"]


def test_a_message_too_large_is_not_kept(place: Place) -> None:
    assert place.keep(b"Subject: one\r\n\r\n" + b"x" * 20_000) == []


def test_bytes_are_bounded(place: Place) -> None:
    for number in range(3):
        place.bench.config = Bench.settings("[junk]\nrejects_max_bytes = 65536\n")
        place.keep(b"Subject: %d\r\n\r\n" % number + b"x" * 16_000)
    for number in range(3, 6):
        place.keep(b"Subject: %d\r\n\r\n" % number + b"x" * 16_000)
    assert [each.splitlines()[1] for each in place.subjects()] == [b"Subject: %d" % n for n in (2, 3, 4, 5)]


def test_they_go_after_their_days(place: Place) -> None:
    place.keep(b"Subject: old\r\n\r\n")
    place.bench.clock.skip(10 * 86_400)
    place.keep(b"Subject: new\r\n\r\n")
    place.bench.clock.skip(5 * 86_400)
    place.rejects.expire(place.account.ref)
    assert [each.splitlines()[1] for each in place.subjects()] == [b"Subject: new"]


def test_only_what_the_score_alone_refused_is_wanted(place: Place) -> None:
    assert place.rejects.wants(Judgement([Finding("a", "x", 20.0)], 5.0, 10.0))
    refused = Finding("a", "x", 20.0, Verdict.REJECT)
    assert not place.rejects.wants(Judgement([refused], 5.0, 10.0))


def test_a_store_in_trouble_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("store.full", "storage is not writable now", temporary=True)

    monkeypatch.setattr(place.store, "stage", full)
    assert place.keep(b"Subject: one\r\n\r\nbody\r\n") == []


@pytest.mark.parametrize(
    ("trouble", "tried"),
    [
        (StoreError("store.busy", "the mailbox is busy", temporary=True), 1),
        (RuntimeError("a bug"), 1),
        (StoreError("store.over_quota", "the mailbox is full", temporary=True), 3),
    ],
    ids=["busy", "bug", "full"],
)
def test_whatever_goes_wrong_the_refusal_stands_and_nobody_waits_for_twenty_mailboxes(
    place: Place, monkeypatch: pytest.MonkeyPatch, trouble: Exception, tried: int
) -> None:
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise trouble

    monkeypatch.setattr(place.store, "stage", fail)
    accounts = [account(number, f"a{number}@example.org") for number in (1, 2, 3)]
    mail = Mail(Envelope("x@example.net"), [Recipient("all@example.org", accounts)], b"", b"\r\n", 2)
    assert list(asyncio.run(place.rejects.keep(mail))) == []
    assert len(calls) == tried
