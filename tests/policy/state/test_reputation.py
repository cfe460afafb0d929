"""Tallies of senders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.ids import AccountId
from mailbox_app.policy.state.reputation import EVERYBODY, HALF_LIFE_SECONDS, Tally
from tests.support.policy import Bench

ALICE, BOB = AccountId(1), AccountId(2)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_each_account_has_its_own_and_everybody_the_sum(bench: Bench) -> None:
    reputation = bench.files.state.reputation
    senders = ["address:a@x.example.com", "domain:x.example.com"]
    reputation.note(ALICE, senders, junk=1)
    reputation.note(BOB, senders, ham=1)
    known = reputation.tallies([ALICE], senders)
    assert known[ALICE] == dict.fromkeys(senders, Tally(1.0, 0.0, 0.0))
    assert known[EVERYBODY] == {"domain:x.example.com": Tally(1.0, 1.0, 0.0)}
    assert BOB not in known


def test_tallies_fade(bench: Bench) -> None:
    reputation = bench.files.state.reputation
    reputation.note(ALICE, ["ip:192.0.2.1"], junk=4)
    bench.clock.skip(HALF_LIFE_SECONDS)
    assert reputation.tallies([ALICE], ["ip:192.0.2.1"])[ALICE]["ip:192.0.2.1"].junk == pytest.approx(2.0)
    reputation.note(ALICE, ["ip:192.0.2.1"], ham=1)
    tally = reputation.tallies([ALICE], ["ip:192.0.2.1"])[ALICE]["ip:192.0.2.1"]
    assert tally == pytest.approx((2.0, 1.0, 0.0))


def test_taking_back_stops_at_nothing(bench: Bench) -> None:
    reputation = bench.files.state.reputation
    reputation.note(ALICE, ["ip:192.0.2.1"], junk=-1, ham=1)
    assert reputation.tallies([ALICE], ["ip:192.0.2.1"])[ALICE]["ip:192.0.2.1"] == Tally(0.0, 1.0, 0.0)
