"""The life of signing keys, told as what an administrator sees from day to day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.dkim_keys import generate
from mailbox_app.accounts.model import DkimKey, KeyState
from mailbox_app.db.offload import Offload
from mailbox_app.errors import ResolveError
from mailbox_app.net.authority import ServerAnswer
from mailbox_app.outbound.key_rotation import RETIRING, KeyRotation, Step
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver

DOMAIN = "example.org"


class FakeAuthority:
    """Name servers as dictionaries; one that is None does not answer."""

    def __init__(self) -> None:
        self.servers: dict[str, dict[str, list[str]] | None] = {"ns1.example.org": {}, "ns2.example.org": {}}
        self.negative_seconds = 3600.0
        self.unknown = False

    async def txt(self, name: str) -> Sequence[ServerAnswer]:
        if self.unknown:
            raise ResolveError("dns.failed", "no name servers", temporary=True)
        return [
            ServerAnswer(server, None if zone is None else tuple(zone.get(name, ())), self.negative_seconds)
            for server, zone in self.servers.items()
        ]

    def publish(self, key: DkimKey, *servers: str) -> None:
        for server in servers or tuple(self.servers):
            zone = self.servers[server]
            assert zone is not None
            zone[f"{key.selector}._domainkey.{key.domain}"] = [key.public_txt]


class World:
    """A domain with an active Ed25519 key (quick to make), its name servers, and the plan."""

    def __init__(self, directory: SqliteDirectory, clock: FakeClock) -> None:
        self.directory = directory
        self.clock = clock
        self.authority = FakeAuthority()
        self.resolver = FakeResolver()
        self.told: list[Step] = []
        self.rotate_after = timedelta()
        directory.add_domain(DOMAIN)
        self.old = generate(DOMAIN, "old", "ed25519", clock.now())
        directory.add_dkim_key(self.old)
        self.authority.publish(self.old)
        self.rotation = KeyRotation(
            directory, self.authority, self.resolver, Offload(), clock, self.told.append, lambda: self.rotate_after
        )

    def states(self) -> dict[str, KeyState]:
        return {key.selector: key.state for key in self.directory.all_dkim_keys(DOMAIN)}

    async def later(self, **span: float) -> dict[str, KeyState]:
        await self.clock.advance(timedelta(**span).total_seconds())
        await self.rotation.step(DOMAIN)
        return self.states()

    def whats(self) -> list[tuple[str, str]]:
        return [(step.selector, step.what) for step in self.told]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock()
    directory = SqliteDirectory(tmp_path / "directory.db", clock)
    yield World(directory, clock)
    directory.close()


async def test_a_new_key_signs_when_every_name_server_has_had_it_for_the_negative_ttl(world: World) -> None:
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    assert (await world.later(hours=1))[new.selector] is KeyState.PREPARED
    world.authority.publish(new, "ns1.example.org")
    assert (await world.later(hours=5))[new.selector] is KeyState.PREPARED
    world.authority.publish(new)
    await world.later(minutes=10)
    assert (await world.later(minutes=50))[new.selector] is KeyState.PREPARED
    assert await world.later(minutes=11) == {new.selector: KeyState.ACTIVE, "old": KeyState.RETIRING}
    assert world.whats() == [(new.selector, "published"), (new.selector, "switched"), ("old", "retiring")]
    assert [key.selector for key in world.directory.dkim_keys(DOMAIN)] == [new.selector]


async def test_a_replaced_key_keeps_its_record_until_its_mail_has_arrived_and_then_loses_its_private_half(
    world: World,
) -> None:
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.authority.publish(new)
    await world.later()
    await world.later(hours=1)
    assert (await world.later(days=RETIRING.days - 1))["old"] is KeyState.RETIRING
    assert (await world.later(days=1))["old"] is KeyState.RETIRED
    [old] = [key for key in world.directory.all_dkim_keys(DOMAIN) if key.selector == "old"]
    assert old.private_pem == b""


async def test_a_record_that_vanishes_starts_the_wait_anew(world: World) -> None:
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.authority.publish(new)
    await world.later()
    world.authority.servers["ns2.example.org"] = {}
    assert (await world.later(hours=2))[new.selector] is KeyState.PREPARED
    world.authority.publish(new)
    await world.later()
    assert (await world.later(minutes=59))[new.selector] is KeyState.PREPARED
    assert (await world.later(minutes=1))[new.selector] is KeyState.ACTIVE


async def test_a_silent_name_server_holds_the_switch_up_and_changes_nothing(world: World) -> None:
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.authority.publish(new)
    await world.later()
    world.authority.servers["ns2.example.org"] = None
    assert (await world.later(days=2))[new.selector] is KeyState.PREPARED
    assert world.whats() == [(new.selector, "published")]


async def test_another_record_in_its_place_is_told_as_such(world: World) -> None:
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    name = f"{new.selector}._domainkey.{DOMAIN}"
    for zone in world.authority.servers.values():
        assert zone is not None
        zone[name] = [world.old.public_txt]
    found = await world.rotation.publication(new)
    assert (found.seen, found.sentence) == ("wrong", "another record stands in its place")


async def test_where_the_name_servers_are_not_known_the_resolver_is_asked(world: World) -> None:
    world.authority.unknown = True
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.resolver.zone[f"{new.selector}._domainkey.{DOMAIN}", "TXT"] = [new.public_txt]
    await world.later()
    assert (await world.later(minutes=5))[new.selector] is KeyState.ACTIVE


async def test_asking_twice_prepares_one_key(world: World) -> None:
    [first] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    [second] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    assert first.selector == second.selector


async def test_keys_that_are_old_enough_are_followed_by_prepared_ones(world: World) -> None:
    world.rotate_after = timedelta(days=90)
    assert len(await world.later(days=89)) == 1
    states = await world.later(days=2)
    assert sorted(states.values()) == [KeyState.ACTIVE, KeyState.PREPARED]
    assert len(await world.later(days=1)) == 2


async def test_a_key_of_the_other_algorithm_is_left_alone(world: World) -> None:
    world.directory.add_dkim_key(generate(DOMAIN, "rsa1", "rsa", world.clock.now()))
    [new] = await world.rotation.rotate(DOMAIN, ["ed25519"])
    world.authority.publish(new)
    await world.later()
    assert (await world.later(hours=1))["rsa1"] is KeyState.ACTIVE
