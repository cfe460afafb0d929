"""A small pretend day against the real service, store and policy: nobody honest is lost or late, and every answer is explained."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2] / "scripts" / "pretend_day"


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("day")


async def test_a_small_day_loses_nobody_honest_and_lets_little_else_in(day: Any) -> None:
    result = await day.day(150, 5)
    lost, junked, missed = day.wrong(result.fates)
    assert [(each.delivery.kind, each.code, each.text, each.waited) for each in lost] == []
    assert [(each.delivery.kind, each.why) for each in junked] == []
    assert result.unexplained == []
    unwanted = Counter(each.delivery.kind for each in result.fates if not each.delivery.honest)
    got_in = Counter(each.delivery.kind for each in missed)
    assert unwanted["dictionary attack"] == 150
    assert got_in["dictionary attack"] == got_in["virus"] == got_in["forged address"] == 0
    assert got_in["spam from homes"] <= unwanted["spam from homes"] / 5
    assert len(missed) <= 15


async def test_a_first_day_without_any_training_loses_nobody_honest(day: Any) -> None:
    result = await day.day(60, 6, trained=False)
    lost, junked, _ = day.wrong(result.fates)
    assert [(each.delivery.kind, each.code, each.text, each.waited) for each in lost] == []
    assert [(each.delivery.kind, each.why) for each in junked] == []
    assert result.unexplained == []


def test_a_record_that_is_missing_or_says_something_else_is_noticed(day: Any) -> None:
    class Records:
        """One refusal was recorded, with another code."""

        def explanations(self, where: Any, limit: int) -> list[tuple[int, Any]]:
            record = SimpleNamespace(remote="192.0.2.1", code=451, outcome="deferred")
            return [] if where.before_no else [(1, record)]

    server = SimpleNamespace(parts=SimpleNamespace(decisions=Records()))
    fate = day.Fate(SimpleNamespace(at=None), answers=[("192.0.2.1", 550)])
    assert sorted(day.unexplained(server, [fate])) == [
        "192.0.2.1 451: heard 0, recorded 1",
        "192.0.2.1 550: heard 1, recorded 0",
    ]
