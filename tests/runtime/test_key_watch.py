"""The daily look at our own signing records, and the hint when a rotation moved on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.db.offload import Offload
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.runtime.key_watch import KeyWatch
from tests.outbound.test_key_rotation import DOMAIN, World
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock()
    directory = SqliteDirectory(tmp_path / "directory.db", clock)
    yield World(directory, clock)
    directory.close()


def watch_of(world: World, bus: RecordingBus) -> KeyWatch:
    return KeyWatch(world.rotation, world.directory, Offload(), world.clock, bus)


async def test_a_record_that_went_is_a_problem_until_it_is_back(world: World) -> None:
    watch = watch_of(world, RecordingBus())
    await watch.round()
    assert watch.problems() == []
    world.authority.servers = {"ns1.example.org": {}}
    await watch.round()
    assert watch.problems() == []  # looked at once a day
    world.clock.skip(86_400)
    await watch.round()
    assert watch.problems() == [
        "mail of example.org is signed with old, but its record is not published: mailbox dkim check example.org"
    ]
    world.authority.publish(world.old)
    world.clock.skip(3_600)
    await watch.round()
    assert watch.problems() == []


async def test_a_silent_zone_says_nothing_about_the_record(world: World) -> None:
    watch = watch_of(world, RecordingBus())
    world.authority.servers = {"ns1.example.org": None}
    await watch.round()
    assert watch.problems() == []


async def test_a_key_that_is_retired_is_no_problem_any_more(world: World) -> None:
    watch = watch_of(world, RecordingBus())
    world.authority.servers = {"ns1.example.org": {}}
    await watch.round()
    assert len(watch.problems()) == 1
    world.directory.retire_dkim_key(DOMAIN, "old")
    await watch.round()
    assert watch.problems() == []


async def test_a_switch_is_told_to_all_processes(world: World) -> None:
    bus = RecordingBus()
    watch = watch_of(world, bus)
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.authority.publish(new)
    await watch.round()
    assert bus.published == []
    world.clock.skip(3_600)
    await watch.round()
    assert bus.published == [DIRECTORY_TOPIC]
