"""The queue's local transport: one outcome for each recipient."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.model import Envelope, Fate, Lease, NewRecipient, Outcome
from tests.support.smtp import SmtpWorld, smtp_world

NOW = datetime.now(UTC)
BODY = b"Subject: Undelivered\r\n\r\nx\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


def lease(world: SmtpWorld, *addresses: str) -> Lease:
    spool = world.spool.write(b"", BODY)
    recipients = [NewRecipient(address, "local", "FAILURE") for address in addresses]
    world.queue.enqueue(Envelope(""), recipients, spool, NOW)
    (leased,) = world.queue.claim(NOW, limit=100, lease_seconds=60)
    return leased


def brief(outcomes: Sequence[Outcome]) -> set[tuple[str, Fate, str]]:
    return {(outcome.address, outcome.fate, outcome.enhanced) for outcome in outcomes}


async def test_a_bounce_reaches_its_mailbox(world: SmtpWorld) -> None:
    outcomes = await world.local.deliver(lease(world, "alice@example.org", "nobody@example.org"))
    assert brief(outcomes) == {
        ("alice@example.org", Fate.DELIVERED, "2.1.5"),
        ("nobody@example.org", Fate.FAILED, "5.1.1"),
    }
    assert world.inbox("alice@example.org") == [b"Return-Path: <>\r\n" + BODY]


@pytest.mark.parametrize(
    ("error", "enhanced"),
    [
        (StoreError("store.over_quota", "full", temporary=True), "4.2.2"),
        (StoreError("store.busy", "busy", temporary=True), "4.3.0"),
        (RuntimeError("bug"), "4.3.0"),
    ],
)
async def test_trouble_defers(world: SmtpWorld, error: Exception, enhanced: str) -> None:
    world.store.of("bob@example.org").fails_with = error
    outcomes = await world.local.deliver(lease(world, "bob@example.org"))
    assert brief(outcomes) == {("bob@example.org", Fate.DEFERRED, enhanced)}


async def test_a_message_whose_spool_file_is_lost_is_put_aside(world: SmtpWorld) -> None:
    leased = lease(world, "alice@example.org")
    world.spool.discard(leased.spool_path)
    assert brief(await world.local.deliver(leased)) == {("alice@example.org", Fate.QUARANTINED, "4.3.0")}


async def test_an_alias_to_outside_is_queued_for_the_smtp_transport(world: SmtpWorld) -> None:
    outcomes = await world.local.deliver(lease(world, "sales@example.org"))
    assert brief(outcomes) == {("sales@example.org", Fate.DELIVERED, "2.1.5")}
    (row,) = [row for row in world.queued() if row.transport == "smtp"]
    assert (row.address, row.notify) == ("sales@outside.example", "FAILURE")
