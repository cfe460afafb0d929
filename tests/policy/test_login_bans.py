"""Who guesses passwords is banned; a forgotten telephone, an office where people log in, and private networks are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.accounts.login_failures import LoginFailures
from mailbox_app.policy.gate import Gate
from mailbox_app.policy.login_bans import LoginBans
from tests.support.policy import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def gate(bench: Bench) -> Gate:
    return Gate(bench.tools.state.bans, bench.tools.config, bench.clock)


@pytest.fixture
def failures(bench: Bench, gate: Gate) -> LoginFailures:
    watch = LoginBans(bench.tools.state.rates, gate, bench.tools.config)
    return LoginFailures(bench.files.failures, bench.clock, b"key", watch)


def guess(bench: Bench, failures: LoginFailures, remote_ip: str, rounds: int = 3, *, same: bool = False) -> None:
    for number in range(rounds):
        for attempt in range(12):
            failures.failed(remote_ip, "alice@example.org", "old" if same else f"{number} {attempt}")
        bench.clock.skip(700)


def test_thirty_different_guesses_in_a_day_are_a_ban_that_names_the_account(
    bench: Bench, gate: Gate, failures: LoginFailures
) -> None:
    guess(bench, failures, "192.0.2.1", 2)
    assert gate.admits("192.0.2.1", "imap")
    guess(bench, failures, "192.0.2.1", 1)
    assert not gate.admits("192.0.2.1", "imap")
    (ban,) = bench.tools.state.bans.all()
    assert (ban.source, "alice@example.org" in ban.reason) == ("login", True)


def test_the_same_wrong_password_is_one_guess_however_often(bench: Bench, gate: Gate, failures: LoginFailures) -> None:
    guess(bench, failures, "192.0.2.1", 20, same=True)
    assert gate.admits("192.0.2.1", "imap")


def test_where_somebody_logs_in_nobody_is_banned(
    tmp_path: Path, bench: Bench, gate: Gate, failures: LoginFailures
) -> None:
    failures.succeeded("192.0.2.1")
    guess(bench, failures, "192.0.2.1", 5)
    assert gate.admits("192.0.2.1", "pop3")


@pytest.mark.parametrize("remote_ip", ["10.0.0.9", "127.0.0.1", "fd00::1"])
def test_private_addresses_are_never_banned_by_the_server(
    bench: Bench, gate: Gate, failures: LoginFailures, remote_ip: str
) -> None:
    guess(bench, failures, remote_ip, 5)
    assert bench.tools.state.bans.all() == []
