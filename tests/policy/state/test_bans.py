"""Bans: found by address and network, ended by time, seen by every process, never in the way when the file is in trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.db.redis import PAUSE_SECONDS
from mailbox_app.errors import StoreError
from mailbox_app.policy.state import bans as module
from mailbox_app.policy.state.bans import Ban, Bans, SqliteBans, canonical_network
from mailbox_app.policy.state.shared.bans import RedisBans
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer
from tests.support.state_place import StatePlace


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def opened(place: StatePlace, clock: FakeClock) -> Bans:
    return place.make(SqliteBans, RedisBans, clock)


@pytest.fixture
def bans(place: StatePlace, clock: FakeClock) -> Bans:
    return opened(place, clock)


def ban(clock: FakeClock, network: str, seconds: float = 60.0, source: str = "policy", reason: str = "why") -> Ban:
    now = clock.epoch_seconds()
    return Ban(canonical_network(network), source, reason, now, now + seconds if seconds else 0.0)  # type: ignore[arg-type]


def test_clients_are_found_by_address_and_by_network_until_the_time_is_over(bans: Bans, clock: FakeClock) -> None:
    assert bans.find("192.0.2.1") is None
    for network in ("192.0.2.1", "198.51.100.77/24", "2001:db8:1:2::/64"):
        bans.add(ban(clock, network))
    for remote_ip, banned in (
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("192.0.2.2", False),
        ("198.51.100.1", True),
        ("2001:db8:1:2:3::4", True),
        ("2001:db8:1:3::4", False),
        ("no address", False),
    ):
        assert (bans.find(remote_ip) is not None) is banned, remote_ip
    clock.skip(61)
    assert bans.find("192.0.2.1") is None
    assert bans.all() == []


def test_another_process_sees_a_ban_and_its_end_at_its_next_look(
    place: StatePlace,
    bans: Bans,
    clock: FakeClock,
) -> None:
    other = opened(place, clock)
    other.refresh()
    bans.add(ban(clock, "192.0.2.1", 0))
    other.refresh()
    found = other.find("192.0.2.1")
    assert found is not None
    assert found.reason == "why"
    assert bans.remove("192.0.2.1/32") == found
    other.refresh()
    assert other.find("192.0.2.1") is None


def test_a_ban_of_the_server_never_shortens_another_one(bans: Bans, clock: FakeClock) -> None:
    bans.add(ban(clock, "192.0.2.1", 0, "operator", "for good"))
    bans.add(ban(clock, "192.0.2.1", 60))
    (kept,) = bans.all()
    assert (kept.source, kept.reason, kept.expires_at_seconds) == ("operator", "for good", 0.0)
    assert bans.find("192.0.2.1") == kept
    bans.add(ban(clock, "192.0.2.1", 30, "operator", "shorter"))
    assert bans.all()[0].reason == "shorter"


def test_trouble_keeps_the_bans_that_are_known(place: StatePlace, bans: Bans, clock: FakeClock) -> None:
    bans.add(ban(clock, "192.0.2.1"))
    place.fail()
    bans.refresh()
    assert bans.find("192.0.2.1") is not None
    with pytest.raises(StoreError):
        bans.add(ban(clock, "192.0.2.2"))
    assert bans.find("192.0.2.2") is not None  # in this process at least


def test_redis_that_lost_everything_or_came_back_is_read_anew(tmp_path: Path) -> None:
    clock, server = FakeClock(), RedisServer(tmp_path / "redis").start()
    place = StatePlace(tmp_path, server)
    try:
        one, other = opened(place, clock), opened(place, clock)
        one.add(ban(clock, "192.0.2.1", 0))
        other.refresh()
        server.kill()
        other.refresh()
        assert other.find("192.0.2.1") is not None
        server.start()
        clock.skip(PAUSE_SECONDS)
        one.add(ban(clock, "192.0.2.2", 0))
        other.refresh()
        assert other.find("192.0.2.2") is not None
        assert other.find("192.0.2.1") is not None
        server.client().flushall()
        other.refresh()
        assert other.find("192.0.2.1") is None
        one.add(ban(clock, "192.0.2.3", 0))
        other.refresh()
        assert other.find("192.0.2.3") is not None
    finally:
        place.close()
        server.destroy()


def test_bans_are_bounded(place: StatePlace, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 20)
    bans = opened(place, clock)
    bans.add(ban(clock, "198.51.100.1", 0, "operator"))
    for number in range(60):
        bans.add(ban(clock, f"192.0.2.{number}", 60 + number))
    kept = {each.network for each in bans.all()}
    assert len(kept) <= 21
    assert {"198.51.100.1/32", "192.0.2.59/32"} <= kept
