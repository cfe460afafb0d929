from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.login_failures import LoginFailures, SqliteFailures
from mailbox_app.accounts.login_guard import network_of
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.accounts.passwords import Hasher
from mailbox_app.accounts.sasl import Attempt
from mailbox_app.accounts.shared_login_failures import RedisFailures
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.state_place import StatePlace

PASSWORD = "correct horse battery"


class CountingHasher(Hasher):
    """The same interface without the cost; counts what the real one would have computed."""

    def __init__(self) -> None:
        self.hashed = 0
        self.verified: list[str] = []
        self.outdated = False

    def hash(self, prepared: str) -> str:
        self.hashed += 1
        return f"hash of {prepared}"

    def verify(self, stored: str, prepared: str) -> bool:
        self.verified.append(stored)
        return stored == f"hash of {prepared}"

    def is_outdated(self, stored: str) -> bool:
        return self.outdated


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.directory = SqliteDirectory(path, self.clock)
        self.directory.add_domain("example.org")
        self.directory.add_account("alice@example.org", f"hash of {PASSWORD}")
        self.hasher = CountingHasher()
        self.offload = Offload(4)
        self.metrics = Metrics()
        self.logins = PasswordAuthenticator(self.directory, self.offload, self.clock, self.metrics, hasher=self.hasher)

    async def login(self, address: str, password: str, remote_ip: str = "192.0.2.1") -> Account | None:
        return await self.logins.login(address, password, protocol="imap", remote_ip=remote_ip)

    def count(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "mailserver_auth_attempts_total", {"result": result, "protocol": "imap"}
        )
        return value or 0.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "directory.db")
    yield made
    made.offload.close()
    made.directory.close()


async def test_the_right_password_lets_in_under_any_spelling_of_the_address(desk: Desk) -> None:
    account = await desk.login("Alice@EXAMPLE.org", PASSWORD)
    assert account is not None
    assert account.address == "alice@example.org"
    assert desk.count("success") == 1


async def test_every_kind_of_refusal_costs_exactly_one_hash(desk: Desk) -> None:
    """D16: an unknown name is answered as slowly as a known one."""
    desk.directory.add_account("off@example.org", f"hash of {PASSWORD}")
    desk.directory.set_state("off@example.org", AccountState.DISABLED)
    desk.directory.add_account("gone@example.org", f"hash of {PASSWORD}")
    desk.directory.remove_account("gone@example.org")
    await desk.login("warm@example.org", "up")
    for address, password in (
        ("alice@example.org", "wrong password"),
        ("ghost@example.org", PASSWORD),
        ("off@example.org", PASSWORD),
        ("gone@example.org", PASSWORD),
        ("a@elsewhere.net", PASSWORD),
        ("", ""),
        ("\x00@\udcff", "\udcff"),
    ):
        desk.hasher.verified.clear()
        assert await desk.login(address, password, remote_ip="") is None
        assert len(desk.hasher.verified) == 1, address
    assert desk.hasher.hashed == 1, "the dummy is made once"


async def test_a_repeated_login_is_not_hashed_again_for_ten_minutes(desk: Desk) -> None:
    for _ in range(5):
        assert await desk.login("alice@example.org", PASSWORD) is not None
    assert len(desk.hasher.verified) == 1
    desk.clock.skip(601)
    assert await desk.login("alice@example.org", PASSWORD) is not None
    assert len(desk.hasher.verified) == 2


async def test_a_remembered_login_is_void_after_a_new_password_or_when_disabled(desk: Desk) -> None:
    assert await desk.login("alice@example.org", PASSWORD) is not None
    desk.directory.set_state("alice@example.org", AccountState.DISABLED)
    assert await desk.login("alice@example.org", PASSWORD) is None
    desk.directory.set_state("alice@example.org", AccountState.ACTIVE)
    desk.directory.set_password("alice@example.org", "hash of another one")
    assert await desk.login("alice@example.org", PASSWORD) is None
    assert await desk.login("alice@example.org", "another one") is not None


@pytest.mark.parametrize("change", ["password", "disable", "remove"])
async def test_a_login_that_is_overtaken_by_a_change_is_refused(desk: Desk, change: str) -> None:
    verify = desk.hasher.verify

    def slow_verify(stored: str, prepared: str) -> bool:
        if change == "password":
            desk.directory.set_password("alice@example.org", "hash of another one")
        elif change == "disable":
            desk.directory.set_state("alice@example.org", AccountState.DISABLED)
        else:
            desk.directory.remove_account("alice@example.org")
        return verify(stored, prepared)

    desk.hasher.verify = slow_verify  # type: ignore[method-assign]
    assert await desk.login("alice@example.org", PASSWORD) is None


async def test_after_ten_failures_even_the_right_password_is_refused_without_a_hash(desk: Desk) -> None:
    for number in range(10):
        assert await desk.login("alice@example.org", f"guess number {number}") is None
    desk.hasher.verified.clear()
    assert await desk.login("alice@example.org", PASSWORD) is None
    assert await desk.login("bob@example.org", PASSWORD) is None, "ten different guesses block the whole address"
    assert not desk.hasher.verified
    assert desk.count("limited") == 2
    assert await desk.login("alice@example.org", PASSWORD, remote_ip="192.0.2.2") is not None
    desk.clock.skip(601)
    assert await desk.login("bob@example.org", "x") is None
    assert len(desk.hasher.verified) == 2


async def test_a_client_with_an_old_password_blocks_only_itself(desk: Desk) -> None:
    for _ in range(12):
        assert await desk.login("old.phone@example.org", "the password of last year") is None
    assert desk.count("limited") == 2
    assert await desk.login("alice@example.org", PASSWORD) is not None


async def test_a_known_good_login_passes_while_its_network_is_limited(desk: Desk) -> None:
    assert await desk.login("alice@example.org", PASSWORD) is not None
    for number in range(11):
        await desk.login("bob@example.org", f"guess number {number}")
    assert await desk.login("alice@example.org", PASSWORD) is not None


async def test_one_customer_of_ipv6_is_one_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")


async def test_the_hash_is_renewed_when_its_parameters_are_old(desk: Desk) -> None:
    desk.hasher.outdated = True
    before = desk.directory.credential("alice@example.org")
    assert await desk.login("alice@example.org", PASSWORD) is not None
    await desk.logins.close()
    after = desk.directory.credential("alice@example.org")
    assert before is not None
    assert after is not None
    assert desk.hasher.hashed == 2, "the dummy, and the renewed one"
    assert after.version == before.version


async def test_too_many_logins_at_once_are_a_temporary_refusal(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.login(f"user{number}@example.org", "wrong", f"192.0.2.{number}") for number in range(80)),
        return_exceptions=True,
    )
    busy = [answer for answer in answers if isinstance(answer, AccountError)]
    assert len(busy) == 16
    assert all(error.temporary and error.code == "account.busy" for error in busy)


async def test_last_logins_are_written_together_a_little_later(desk: Desk) -> None:
    at = desk.clock.now()
    await desk.login("alice@example.org", PASSWORD)
    await desk.login("alice@example.org", PASSWORD)
    assert desk.directory.accounts()[0].last_login_at is None
    await desk.clock.advance(5)
    assert desk.logins._flushing is not None
    await desk.logins._flushing
    assert desk.directory.accounts()[0].last_login_at == at


async def test_the_last_login_is_not_lost_at_the_end(desk: Desk) -> None:
    await desk.login("alice@example.org", PASSWORD)
    await desk.logins.close()
    assert desk.directory.accounts()[0].last_login_at == desk.clock.now()


def front(desk: Desk, place: StatePlace) -> tuple[PasswordAuthenticator, LoginFailures]:
    store = place.make(lambda database, _: SqliteFailures(database), lambda link, _: RedisFailures(link), desk.clock)
    failures = LoginFailures(store, desk.clock, b"key of one daemon")
    made = PasswordAuthenticator(
        desk.directory, desk.offload, desk.clock, desk.metrics, hasher=desk.hasher, failures=failures
    )
    return made, failures


async def test_guesses_at_several_processes_are_counted_together(desk: Desk, place: StatePlace) -> None:
    fronts = [front(desk, place) for _ in range(4)]
    for number in range(10):
        logins, _ = fronts[number % 4]
        guess = f"guess number {number}"
        assert await logins.login("alice@example.org", guess, protocol="imap", remote_ip="192.0.2.1") is None
    desk.hasher.verified.clear()
    for logins, _ in fronts:
        for name in ("alice@example.org", "bob@example.org"):
            assert await logins.login(name, PASSWORD, protocol="pop3", remote_ip="192.0.2.1") is None
    assert not desk.hasher.verified
    attempt = Attempt("SCRAM-SHA-256", "imap", "192.0.2.1")
    assert await fronts[0][0].login_vouched(["alice@example.org"], attempt) is None
    assert (await fronts[0][0].login("alice@example.org", PASSWORD, protocol="imap", remote_ip="192.0.2.2")) is not None
    desk.clock.skip(601)
    assert (await fronts[1][0].login("alice@example.org", PASSWORD, protocol="imap", remote_ip="192.0.2.1")) is not None


async def test_the_same_wrong_guess_everywhere_is_one_guess(desk: Desk, place: StatePlace) -> None:
    fronts = [front(desk, place) for _ in range(3)]
    for number in range(12):
        logins, _ = fronts[number % 3]
        await logins.login("old.phone@example.org", "of last year", protocol="imap", remote_ip="192.0.2.1")
    assert desk.count("limited") == 2
    assert await fronts[0][0].login("alice@example.org", PASSWORD, protocol="imap", remote_ip="192.0.2.1") is not None


async def test_a_count_that_cannot_be_kept_refuses_nobody(desk: Desk, place: StatePlace) -> None:
    logins, _ = front(desk, place)
    place.fail()
    assert await logins.login("alice@example.org", "wrong", protocol="imap", remote_ip="192.0.2.1") is None
    assert await logins.login("alice@example.org", PASSWORD, protocol="imap", remote_ip="192.0.2.1") is not None
