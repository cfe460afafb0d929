"""From the wire into real Maildirs: one file for all, durable, listed; quota counted by the store itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.schema import Sieve
from mailbox_app.events.bus import LocalBus
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.smtp import HOSTNAME, SmtpWorld, smtp_world

MESSAGE = b"From: c@remote.example\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n.\r\n..\r\nend\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    store = MaildirStore(tmp_path, LocalBus(), hostname=HOSTNAME, clock=SystemClock())
    async with smtp_world(tmp_path, store=store) as made:
        yield made
    store.close()


def files(path: Path, name: str) -> list[Path]:
    return sorted((path / "mail" / "example.org" / name / "Maildir" / "cur").iterdir())


@pytest.mark.parametrize("size", [0, 3_000_000])
async def test_one_inode_for_several_recipients_with_the_received_bytes(
    world: SmtpWorld, tmp_path: Path, size: int
) -> None:
    message = MESSAGE + b"0123456789abcdef\r\n" * (size // 18)
    client = await world.connect()
    await client.begin("c@remote.example", "alice@example.org", "dave@example.org")
    assert (await client.content(message))[0] == 250
    (alice,), (dave,) = files(tmp_path, "alice"), files(tmp_path, "dave")
    assert os.stat(alice).st_ino == os.stat(dave).st_ino
    stored = alice.read_bytes()
    assert stored.startswith(b"Return-Path: <c@remote.example>\r\nReceived: ")
    assert stored.endswith(b"\r\n" + message)
    account = world.directory.account("alice@example.org")
    assert account is not None
    info = world.store.account(account.ref).mailbox("INBOX")
    assert (info.message_count, info.size_bytes) == (1, len(stored))
    assert not list((tmp_path / "mail" / "example.org" / "alice" / "Maildir" / "tmp").iterdir())


async def test_the_store_has_the_last_word_on_quota(world: SmtpWorld, tmp_path: Path) -> None:
    world.directory.set_quota("bob@example.org", 100_000)
    client = await world.connect()
    large = MESSAGE + b"x" * 90_000 + b"\r\n"
    await client.begin("c@remote.example", "bob@example.org")
    assert (await client.content(large))[0] == 250
    await client.begin("c@remote.example", "bob@example.org")
    assert await client.content(large) == (452, "4.2.2 The mailbox is full, try again later")
    await client.begin("c@remote.example", "alice@example.org", "bob@example.org")
    assert (await client.content(large))[0] == 250
    assert len(files(tmp_path, "bob")) == len(files(tmp_path, "alice")) == 1
    assert [(row.address, row.transport) for row in world.queued()] == [("bob@example.org", "local")]


async def test_a_disk_that_cannot_be_written_is_a_4xx_and_heals(world: SmtpWorld, tmp_path: Path) -> None:
    client = await world.connect()
    await client.begin()
    assert (await client.content(MESSAGE))[0] == 250
    maildir = tmp_path / "mail" / "example.org" / "alice" / "Maildir"
    (maildir / "tmp").rename(maildir / "away")
    await client.begin()
    code, text = await client.content(MESSAGE)
    assert 400 <= code < 500, text
    (maildir / "away").rename(maildir / "tmp")
    await client.begin()
    assert (await client.content(MESSAGE))[0] == 250


async def test_a_detail_names_a_mailbox_where_the_administrator_wants_it_so(world: SmtpWorld) -> None:
    alice = world.directory.account("alice@example.org")
    assert alice is not None
    account = world.store.account(alice.ref)
    account.create("Shop")
    client = await world.connect()

    async def send(recipient: str) -> tuple[int, int]:
        await client.begin("c@remote.example", recipient)
        assert (await client.content(MESSAGE))[0] == 250
        return account.mailbox("INBOX").message_count, account.mailbox("Shop").message_count

    assert await send("alice+Shop@example.org") == (1, 0)
    world.filters.configure(Sieve(detail_mailboxes=True))
    assert await send("alice+Shop@example.org") == (1, 1)
    assert await send("alice+none@example.org") == (2, 1)
