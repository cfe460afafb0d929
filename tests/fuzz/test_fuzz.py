"""A fraction of a second of the fuzz run for each reader; `scripts/fuzz` goes on for longer."""

from __future__ import annotations

import os

import pytest

from tests.fuzz.fuzzing import fuzz
from tests.fuzz.targets import TARGETS, Target

SECONDS = float(os.environ.get("MAILBOX_FUZZ_SECONDS", "0.2"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_its_own_error_comes_out_and_in_time(target: Target) -> None:
    assert fuzz(target, SECONDS)
