"""Logins without a password on the wire: the same guard, counts and silence as for passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.accounts.passwords import SCRAM_ITERATIONS, Hasher
from mailbox_app.accounts.sasl import Attempt, LoggedIn, Refused, Sasl, Step, TokenOwner, Why
from mailbox_app.db.offload import Offload
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.sasl.mechanism import Challenge, ClearChannel
from tests.support.clock import FakeClock

ALICE, BOB = "alice@example.org", "bob@example.org"
HERE = Attempt("SCRAM-SHA-256", "imap", "192.0.2.1")
THERE = Attempt("SCRAM-SHA-256", "imap", "192.0.2.2")


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.directory = SqliteDirectory(path, self.clock)
        self.directory.add_domain("example.org")
        for address in (ALICE, BOB):
            self.directory.add_account(address, "hash", 0, Hasher().scram_keys("password of " + address))
        self.offload = Offload(2)
        self.metrics = Metrics()
        self.logins = self.another_process()

    def another_process(self) -> PasswordAuthenticator:
        return PasswordAuthenticator(self.directory, self.offload, self.clock, self.metrics)

    async def prove(self, address: str, attempt: Attempt = HERE, *, right: bool = True) -> Account | None:
        keys = self.logins.scram_keys(address, "sha256")
        return await self.logins.login_by_proof(address, keys, attempt, right=right)

    def count(self, result: str) -> float:
        labels = {"result": result, "protocol": "imap"}
        return self.metrics.registry.get_sample_value("mailserver_auth_attempts_total", labels) or 0.0


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "directory.db")
    yield made
    made.offload.close()
    made.directory.close()


@pytest.mark.parametrize("hash_name", ["sha256", "sha1"])
def test_keys_of_unknown_names_look_like_others_and_stay_the_same(desk: Desk, hash_name: str) -> None:
    known = desk.logins.scram_keys(ALICE, hash_name)
    unknown = desk.logins.scram_keys("ghost@example.org", hash_name)
    assert (len(known.salt), known.iterations) == (len(unknown.salt), unknown.iterations)
    assert known.iterations == SCRAM_ITERATIONS
    assert desk.another_process().scram_keys("Ghost@Example.org", hash_name) == unknown
    assert desk.logins.scram_keys("phantom@example.org", hash_name).salt != unknown.salt


async def test_only_a_right_proof_for_the_keys_of_now_lets_in(desk: Desk) -> None:
    assert await desk.prove(ALICE) is not None
    assert await desk.prove(ALICE, right=False) is None
    assert await desk.prove("ghost@example.org") is None, "whatever the proof says"
    before = desk.logins.scram_keys(ALICE, "sha256")
    desk.directory.set_password(ALICE, "new hash", Hasher().scram_keys("new"))
    assert await desk.logins.login_by_proof(ALICE, before, HERE, right=True) is None
    assert await desk.prove(ALICE) is not None
    assert (desk.count("success"), desk.count("failure")) == (2, 3)


async def test_a_password_set_without_keys_leaves_none_of_the_old_ones(desk: Desk) -> None:
    desk.directory.set_password(ALICE, "new hash")
    assert await desk.prove(ALICE) is None


@pytest.mark.parametrize("state", ["disabled", "removed"])
async def test_disabled_and_removed_accounts_run_the_exchange_and_are_refused(desk: Desk, state: str) -> None:
    before = desk.logins.scram_keys(ALICE, "sha256")
    if state == "disabled":
        desk.directory.set_state(ALICE, AccountState.DISABLED)
    else:
        desk.directory.remove_account(ALICE)
    assert desk.logins.scram_keys(ALICE, "sha256") != before
    assert await desk.prove(ALICE) is None
    assert await desk.logins.login_by_proof(ALICE, before, HERE, right=True) is None
    assert await desk.logins.login_vouched([ALICE], HERE) is None


async def test_ten_wrong_proofs_are_the_end_for_that_name_only(desk: Desk) -> None:
    for _ in range(10):
        assert await desk.prove(ALICE, right=False) is None
    assert await desk.prove(ALICE) is None
    assert desk.count("limited") == 1
    assert await desk.prove(BOB) is not None, "one telephone with an old password is not ten guesses"
    assert await desk.prove(ALICE, THERE) is not None
    desk.clock.skip(601)
    assert await desk.prove(ALICE) is not None


async def test_wrong_proofs_for_ten_names_block_the_whole_address(desk: Desk) -> None:
    for number in range(10):
        await desk.prove(f"user{number}@example.org", right=False)
    assert await desk.prove(ALICE) is None
    assert await desk.logins.login(BOB, "x", protocol="imap", remote_ip="192.0.2.1") is None
    assert await desk.logins.login_vouched([ALICE], HERE) is None
    assert desk.count("limited") == 3


async def test_who_is_vouched_for_is_the_first_that_exists(desk: Desk) -> None:
    account = await desk.logins.login_vouched(["ghost@example.org", "Bob@Example.org", ALICE], HERE)
    assert account is not None
    assert account.address == BOB
    assert await desk.logins.login_vouched([], HERE) is None


async def test_the_secret_behind_made_up_keys_outlives_a_restart(tmp_path: Path) -> None:
    first = SqliteDirectory(tmp_path / "directory.db")
    secret = first.secret()
    first.close()
    again = SqliteDirectory(tmp_path / "directory.db")
    assert again.secret() == secret
    again.close()


class Tokens:
    scope = configuration_url = ""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def verify(self, token: str) -> TokenOwner | None:
        self.asked.append(token)
        return TokenOwner((ALICE,)) if token == "good" else None


class Encrypted(ClearChannel):
    is_tls = True


async def test_after_ten_bad_tokens_for_a_name_nobody_is_asked_about_an_eleventh(desk: Desk) -> None:
    tokens = Tokens()
    sasl = Sasl(desk.logins, proofs=desk.logins, tokens=tokens)

    async def say(user: str, token: str) -> Step:
        exchange = sasl.begin("XOAUTH2", Encrypted(), protocol="imap", remote_ip="192.0.2.1")
        assert exchange is not None
        step = await exchange.start(f"user={user}\x01auth=Bearer {token}\x01\x01".encode())
        return await exchange.step(b"") if isinstance(step, Challenge) else step

    for number in range(10):
        assert await say(BOB, f"bad{number}") == Refused(Why.CREDENTIALS)
    assert await say(BOB, "bad") == Refused(Why.CREDENTIALS)
    assert len(tokens.asked) == 10
    assert isinstance(await say(ALICE, "good"), LoggedIn), "a program with an old token blocks only itself"


def test_nothing_is_offered_without_its_other_side_or_tls(desk: Desk) -> None:
    assert Sasl(desk.logins).mechanisms(Encrypted()) == ["PLAIN", "LOGIN"]
    whole = Sasl(desk.logins, proofs=desk.logins, tokens=Tokens())
    assert whole.mechanisms(ClearChannel()) == []
    assert whole.begin("PLAIN", ClearChannel(), protocol="imap", remote_ip="192.0.2.1") is None
    whole.configure(["PLAIN"], require_tls=True, tokens=None)
    assert whole.mechanisms(Encrypted()) == ["PLAIN"]
    assert whole.begin("SCRAM-SHA-256", Encrypted(), protocol="imap", remote_ip="192.0.2.1") is None
