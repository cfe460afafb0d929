"""Counts, sizes, times, and the drain."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from mailbox_app.config.schema import Limits
from mailbox_app.services.smtp.limits import SmtpLimits
from tests.support.smtp import Client, SmtpWorld, smtp_world

SMALL = b"Subject: x\r\n\r\nx\r\n"


async def test_recipients_are_counted(tmp_path: Path) -> None:
    async with smtp_world(tmp_path, config_limits=Limits(max_recipients=2)) as world:
        client = await world.connect()
        await client.begin("c@remote.example", "alice@example.org", "bob@example.org")
        assert (await client.expect(452, "RCPT TO:<dave@example.org>")).startswith("4.5.3 ")
        assert (await client.content(SMALL))[0] == 250


async def test_one_address_named_without_end_is_a_recipient_each_time(tmp_path: Path) -> None:
    async with smtp_world(tmp_path, config_limits=Limits(max_recipients=3)) as world:
        client = await world.connect()
        await client.begin("c@remote.example", "alice@example.org", "alice@example.org", "ALICE@example.org")
        await client.expect(452, "RCPT TO:<alice@example.org>")
        assert (await client.content(SMALL))[0] == 250


async def test_recipients_that_must_wait_cannot_be_asked_for_without_end(tmp_path: Path) -> None:
    async with smtp_world(
        tmp_path, config_limits=Limits(max_recipients=2), limits=SmtpLimits(recipients_asked=3)
    ) as world:
        client = await world.connect()
        await client.begin("c@remote.example", "alice@example.org", "bob@example.org")
        for _ in range(4):
            await client.expect(452, "RCPT TO:<dave@example.org>")
        await client.expect(421, "RCPT TO:<dave@example.org>")
        assert await client.is_closed()
        assert [event.reason for event in world.events if event.verb == "rejected"] == ["too_many_recipients"]


async def test_a_client_that_says_everything_at_once_does_not_keep_others_waiting(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect()
        await client.begin()
        (session,) = world.service._all_sessions()
        steps = [0]

        async def watch() -> None:
            before = session.transaction.rcpt_count
            while True:
                await asyncio.sleep(0)
                steps.append(session.transaction.rcpt_count - before)
                before = session.transaction.rcpt_count

        other = asyncio.get_running_loop().create_task(watch())
        await client.send(b"RCPT TO:<alice@example.org>\r\n" * 500)
        for _ in range(500):
            assert (await client.reply())[0] in (250, 452)
        other.cancel()
        assert sum(steps) == 500
        assert max(steps) <= 20


async def test_too_large_a_message_is_read_to_its_end_and_refused(tmp_path: Path) -> None:
    async with smtp_world(tmp_path, config_limits=Limits(max_message_bytes=100_000)) as world:
        client = await world.connect()
        await client.begin()
        assert (await client.content(SMALL + b"x" * 78 * 2_000))[0] == 552
        await client.begin()
        assert (await client.content(SMALL))[0] == 250


async def test_content_far_beyond_the_limit_ends_the_session(tmp_path: Path) -> None:
    limits = SmtpLimits(surplus_bytes=100_000)
    async with smtp_world(tmp_path, config_limits=Limits(max_message_bytes=100_000), limits=limits) as world:
        client = await world.connect()
        await client.begin()
        await client.expect(354, "DATA")
        await client.send(b"x" * 400_000)
        assert (await client.reply())[0] == 552
        assert (await client.reply())[0] == 0


async def test_too_large_a_header_is_refused(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        for size in (300_000, 2_000_000):
            client = await world.connect()
            await client.begin()
            assert (await client.content(b"X: y\r\n" * (size // 6) + b"\r\nx\r\n"))[0] == 552


async def test_errors_commands_and_messages_are_counted(tmp_path: Path) -> None:
    limits = SmtpLimits(errors=3, idle_commands=10, messages=2)
    async with smtp_world(tmp_path, limits=limits) as world:
        client = await world.connect()
        for _ in range(3):
            await client.expect(500, "FOO")
        assert (await client.reply())[0] == 421
        assert await client.is_closed()

        client = await world.connect()
        for _ in range(9):
            await client.expect(250, "NOOP")
        await client.expect(421, "NOOP")
        assert await client.is_closed()

        client = await world.connect()
        for _ in range(2):
            await client.expect(500, "FOO")
            await client.begin()
            assert (await client.content(SMALL))[0] == 250
        await client.expect(421, "MAIL FROM:<c@remote.example>")


async def test_connections_are_counted(tmp_path: Path) -> None:
    async with smtp_world(tmp_path, limits=SmtpLimits(connections=2)) as world:
        first, _ = await world.connect(), await world.connect()
        third = Client(*await asyncio.open_connection("127.0.0.1", world.ports["smtp"]))
        assert (await third.reply())[0] == 421
        assert await third.is_closed()
        assert world.service.connections == 2
        await first.expect(221, "QUIT")
        assert await first.is_closed()
        await world.connect()
        assert world.metrics.connections.labels(protocol="smtp")._value.get() == 3


@pytest.mark.parametrize("stage", ["command", "content", "slow content"])
async def test_silent_peers_are_sent_away(tmp_path: Path, stage: str) -> None:
    limits = SmtpLimits(command_seconds=0.05, block_seconds=0.05)
    if stage == "slow content":
        limits = SmtpLimits(command_seconds=0.05, content_seconds=0.1)
    async with smtp_world(tmp_path, limits=limits) as world:
        client = await world.connect()
        if stage != "command":
            await client.begin()
            await client.expect(354, "DATA")
        sending = asyncio.create_task(_drip(client)) if stage == "slow content" else None
        code, text = await client.reply()
        assert (code, text[:5]) == (421, "4.4.2")
        if sending:
            sending.cancel()
        else:
            assert await client.is_closed()
        assert not world.inbox("alice@example.org")


async def _drip(client: Client) -> None:
    while True:
        await client.send(b"x")
        await asyncio.sleep(0.01)


async def test_drain_lets_a_transaction_finish_and_sends_the_idle_away(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        idle, busy = await world.connect(), await world.connect()
        await busy.begin()
        await busy.expect(354, "DATA")
        draining = asyncio.create_task(world.service.drain(10))
        assert await idle.reply() == (421, "4.3.2 Shutting down, try again later")
        assert await idle.is_closed()
        late = Client(*await asyncio.open_connection("127.0.0.1", world.ports["smtp"]))
        assert (await late.reply())[0] == 421
        await busy.send(SMALL + b".\r\n")
        assert (await busy.reply())[0] == 250
        assert (await busy.reply())[0] == 421
        await draining
        assert world.service.connections == 0
        assert len(world.inbox("alice@example.org")) == 1


async def test_drain_ends_in_time_whatever_the_peer_does(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect()
        await client.begin()
        await world.service.drain(0.01)
        assert (await client.reply())[0] == 421
        assert await client.is_closed()


async def test_a_reload_changes_limits_of_living_sessions(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect()
        config = world.service.config
        world.service.reload(type(config)(config.server, limits=Limits(max_message_bytes=5_000)))
        assert "SIZE 5000" in await client.expect(250, "EHLO client.example")
        await client.expect(552, "MAIL FROM:<c@remote.example> SIZE=5001")


async def _send_large(world: SmtpWorld, size: int) -> None:
    client = await world.connect()
    await client.begin()
    await client.expect(354, "DATA")
    await client.send(SMALL)
    block = (b"x" * 76 + b"\r\n") * 800
    for _ in range(size // len(block)):
        await client.send(block)
    await client.send(b".\r\n")
    assert (await client.reply())[0] == 250
    client.close()


class ForgetfulStore:
    """Reads what it is given and keeps nothing."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def stage(self, ref: object, content: object) -> object:
        body = content.body  # type: ignore[attr-defined]
        assert not isinstance(body, bytes)
        body.seek(0)
        size = 0
        while chunk := body.read(262_144):
            size += len(chunk)
        self.sizes.append(size)
        return self._store._keep(b"")  # type: ignore[attr-defined]


async def test_large_messages_cost_no_memory(tmp_path: Path) -> None:
    from tests.support.memory_store import MemoryStore

    store = ForgetfulStore(MemoryStore())
    async with smtp_world(tmp_path, store=store) as world:
        await _send_large(world, 2_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await asyncio.gather(*(_send_large(world, 8_000_000) for _ in range(8)))
        growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(store.sizes) == 9
    assert growth_kib < 24 * 1024, growth_kib  # 61 MiB went through; the sending side is in this process too
