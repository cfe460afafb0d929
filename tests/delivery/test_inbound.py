"""Delivery to several recipients when some of it fails: nothing accepted is ever lost, nothing is there twice."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailbox_app.delivery.mail import Mail
from mailbox_app.errors import MailboxError, QueueError, StoreError
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.proto.smtp.commands import RcptCommand
from tests.support.smtp import SmtpWorld, smtp_world

BODY = b"Subject: x\r\n\r\nx\r\n"
BUSY = StoreError("store.busy", "busy", temporary=True)
ALICE, BOB, DAVE = "alice@example.org", "bob@example.org", "dave@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path) as made:
        yield made


async def mail(world: SmtpWorld, *addresses: str, body: bytes | io.BytesIO = BODY) -> Mail:
    recipients = [await world.recipients.accept(RcptCommand(address, "NEVER"), may_relay=True) for address in addresses]
    return Mail(Envelope("c@remote.example"), recipients, b"Received: x\r\n", body, 13 + len(BODY))


async def test_all_are_stored_from_bytes_and_from_a_file(world: SmtpWorld) -> None:
    for body in (BODY, io.BytesIO(BODY)):
        delivered = await world.inbound.deliver(await mail(world, ALICE, BOB, body=body))
        assert (delivered.stored, delivered.queued) == ([ALICE, BOB], [])
    wanted = b"Return-Path: <c@remote.example>\r\nReceived: x\r\n" + BODY
    assert world.inbox(ALICE) == world.inbox(BOB) == [wanted, wanted]
    assert not world.store.staged


async def test_one_in_trouble_waits_in_the_queue_with_the_reason(world: SmtpWorld) -> None:
    world.store.of(BOB).fails_with = BUSY
    delivered = await world.inbound.deliver(await mail(world, ALICE, BOB, DAVE))
    ((queue_id, addresses),) = delivered.queued
    assert (delivered.stored, addresses) == ([ALICE, DAVE], [BOB])
    (row,) = world.queued()
    assert (row.queue_id, row.address, row.transport, row.notify) == (queue_id, BOB, "local", "NEVER")
    assert row.last_text == "451 4.3.0 Local trouble, try again later"
    assert world.queued_content() == [b"Received: x\r\n" + BODY]


@pytest.mark.parametrize(
    ("bob", "code"),
    [(BUSY, "store.busy"), (RuntimeError("bug"), "store.failed"), (None, "store.busy")],
)
async def test_when_nobody_can_be_served_the_gravest_error_is_raised(
    world: SmtpWorld, bob: Exception | None, code: str
) -> None:
    world.store.of(ALICE).fails_with = BUSY if bob is None else StoreError("store.over_quota", "full", temporary=True)
    world.store.of(BOB).fails_with = bob or StoreError("store.over_quota", "full", temporary=True)
    with pytest.raises(MailboxError) as raised:
        await world.inbound.deliver(await mail(world, ALICE, BOB))
    assert (raised.value.code, raised.value.temporary) == (code, True)
    assert not world.queued()
    assert not world.store.staged


async def test_nobody_has_a_copy_when_the_outside_part_cannot_be_queued(
    world: SmtpWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    monkeypatch.setattr(world.spool, "write", full)
    with pytest.raises(QueueError):
        await world.inbound.deliver(await mail(world, ALICE, "x@outside.example"))
    assert not world.inbox(ALICE)


async def test_a_store_that_fails_at_staging_counts_as_trouble_of_all(world: SmtpWorld) -> None:
    world.store.stage_fails_with = BUSY
    with pytest.raises(StoreError):
        await world.inbound.deliver(await mail(world, ALICE, BOB))
    delivered = await world.inbound.deliver(await mail(world, ALICE, "x@outside.example"))
    assert [addresses for _, addresses in delivered.queued] == [["x@outside.example"], [ALICE]]


async def test_an_account_and_an_outside_address_named_twice_get_one_copy(world: SmtpWorld) -> None:
    delivered = await world.inbound.deliver(
        await mail(world, "team@example.org", ALICE, "alice.alias@example.org", "EXT@outside.example")
    )
    assert delivered.stored == [ALICE, BOB]
    assert [row.address for row in world.queued()] == ["ext@outside.example"]
