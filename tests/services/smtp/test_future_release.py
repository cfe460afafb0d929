"""Mail for later: offered to our users, bounded, in the queue until its time, delivered to people here and elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.mailqueue.schedule import LIFETIME
from tests.support.clock import FakeClock
from tests.support.smtp import Client, SmtpWorld, smtp_world

ALICE = "alice@example.org"
MAIL = b"From: alice@example.org\r\nTo: x@outside.example\r\n\r\nhi\r\n"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SmtpWorld]:
    async with smtp_world(tmp_path, clock=FakeClock()) as made:
        yield made


async def begin(client: Client, parameter: str, *recipients: str) -> tuple[int, str]:
    answer = await client.say(f"MAIL FROM:<{ALICE}> {parameter}")
    for recipient in recipients:
        await client.expect(250, f"RCPT TO:<{recipient}>")
    return answer


async def test_it_waits_for_its_time_also_for_people_here(world: SmtpWorld) -> None:
    client = await world.logged_in()
    text = await client.expect(250, "EHLO client.example")
    assert "FUTURERELEASE 2592000 2026-02-04T10:00:00Z" in text
    await begin(client, "HOLDFOR=3600", "bob@example.org", "x@outside.example")
    code, _ = await client.content(MAIL)
    assert code == 250
    now = world.service.clock.now()
    due = now + timedelta(hours=1)
    assert world.inbox("bob@example.org") == []
    rows = {row.address: row for row in world.queued()}
    assert {row.transport for row in rows.values()} == {"local", "smtp"}
    for row in rows.values():
        assert row.next_at == due
        assert row.last_text == "waits until 2026-01-05 11:00:00 UTC, as its sender asked"
        assert world.queue.message(row.queue_id).expires_at == due + LIFETIME
        assert world.queue.message(row.queue_id).envelope.release_request == "for;3600"
    assert not world.queue.claim(now, limit=5, lease_seconds=60)
    [local] = [
        lease
        for lease in world.queue.claim(due, limit=5, lease_seconds=60)
        if lease.message.recipients[0].transport == "local"
    ]
    await world.local.deliver(local)
    assert len(world.inbox("bob@example.org")) == 1


async def test_a_time_that_has_passed_means_now(world: SmtpWorld) -> None:
    client = await world.logged_in()
    await begin(client, "HOLDUNTIL=2026-01-05T09:59:59Z", "bob@example.org")
    await client.content(MAIL)
    assert len(world.inbox("bob@example.org")) == 1


async def test_no_time_at_all_is_refused(world: SmtpWorld) -> None:
    """RFC 4865 3: a positive number; 4.2: what is invalid is refused with 501 5.5.4."""
    client = await world.logged_in()
    assert await client.say(f"MAIL FROM:<{ALICE}> HOLDFOR=0") == (501, "5.5.4 The parameter HOLDFOR has no such value")


@pytest.mark.parametrize("parameter", ["HOLDFOR=2592001", "HOLDFOR=999999999", "HOLDUNTIL=2026-02-04T10:00:01Z"])
async def test_too_far_ahead_is_refused(world: SmtpWorld, parameter: str) -> None:
    client = await world.logged_in()
    assert await begin(client, parameter) == (501, "5.5.4 Mail may be handed in 30 days ahead at most")


async def test_strangers_cannot(world: SmtpWorld) -> None:
    client = await world.connect()
    assert "FUTURERELEASE" not in await client.expect(250, "EHLO client.example")
    assert (await client.say("MAIL FROM:<x@remote.example> HOLDFOR=5"))[0] == 555


async def test_members_of_a_list_get_it_at_its_time(world: SmtpWorld) -> None:
    world.directory.add_alias("dev@example.org", ["bob@example.org", "ext@outside.example"])
    client = await world.logged_in()
    await begin(client, "HOLDFOR=60", "dev@example.org")
    assert (await client.content(MAIL))[0] == 250
    assert world.inbox("bob@example.org") == []
    assert {row.address for row in world.queued()} == {"bob@example.org", "ext@outside.example"}
