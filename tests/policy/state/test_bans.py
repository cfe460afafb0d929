"""Bans: found by address and network, ended by time, seen by every process, never in the way when the file is in trouble."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.policy.state.bans import Ban, SqliteBans, canonical_network
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bans(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteBans]:
    made = SqliteBans(tmp_path / "state.db", clock)
    yield made
    made.close()


def ban(clock: FakeClock, network: str, seconds: float = 60.0, source: str = "policy", reason: str = "why") -> Ban:
    now = clock.epoch_seconds()
    return Ban(canonical_network(network), source, reason, now, now + seconds if seconds else 0.0)  # type: ignore[arg-type]


def test_clients_are_found_by_address_and_by_network_until_the_time_is_over(bans: SqliteBans, clock: FakeClock) -> None:
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
    tmp_path: Path, bans: SqliteBans, clock: FakeClock
) -> None:
    other = SqliteBans(tmp_path / "state.db", clock)
    other.refresh()
    bans.add(ban(clock, "192.0.2.1", 0))
    other.refresh()
    found = other.find("192.0.2.1")
    assert found is not None
    assert found.reason == "why"
    assert bans.remove("192.0.2.1/32") == found
    other.refresh()
    assert other.find("192.0.2.1") is None
    other.close()


def test_a_ban_of_the_server_never_shortens_another_one(bans: SqliteBans, clock: FakeClock) -> None:
    bans.add(ban(clock, "192.0.2.1", 0, "operator", "for good"))
    bans.add(ban(clock, "192.0.2.1", 60))
    (kept,) = bans.all()
    assert (kept.source, kept.reason, kept.expires_at_seconds) == ("operator", "for good", 0.0)
    assert bans.find("192.0.2.1") == kept
    bans.add(ban(clock, "192.0.2.1", 30, "operator", "shorter"))
    assert bans.all()[0].reason == "shorter"


def test_a_file_in_trouble_keeps_the_bans_that_are_known(tmp_path: Path, bans: SqliteBans, clock: FakeClock) -> None:
    bans.add(ban(clock, "192.0.2.1"))
    other = sqlite3.connect(tmp_path / "state.db")
    other.execute("DROP TABLE bans")
    other.execute("UPDATE state_versions SET version = version + 1")
    other.commit()
    other.close()
    bans.refresh()
    assert bans.find("192.0.2.1") is not None
    with pytest.raises(StoreError):
        bans.add(ban(clock, "192.0.2.2"))
    assert bans.find("192.0.2.2") is not None  # in this process at least
