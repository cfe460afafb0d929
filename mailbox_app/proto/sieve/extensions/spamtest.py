"""What the checks of this server found: `spamtest`, `virustest`. RFC 5235."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _spamtest(use: Use, compiler: Compiler) -> Test:
    keys = compiler.texts(use[0])
    match = compiler.match(use, keys)
    percent = "percent" in use.tags

    def spamtest(machine: Machine) -> bool:
        found = machine.context.spam_percent
        if found is None:
            return match.test(machine, () if match.kind == "count" else ("0",), keys)
        score = min(max(found, 0.0), 100.0)
        # RFC 5235 2.2.1: 0 is not tested, 1 clean, 10 surely spam
        value = int(score) if percent else 1 + int(score * 9 / 100)
        return match.test(machine, (str(value),), keys)

    return spamtest


def _virustest(use: Use, compiler: Compiler) -> Test:
    keys = compiler.texts(use[0])
    match = compiler.match(use, keys)

    def virustest(machine: Machine) -> bool:
        level = machine.context.virus_level or 0
        if match.kind == "count" and level == 0:
            return match.test(machine, (), keys)
        return match.test(machine, (str(level),), keys)

    return virustest


EXTENSION = Extension(
    capabilities=("spamtest", "spamtestplus", "virustest"),
    rfc="RFC 5235",
    questions=(
        Question(
            "spamtest",
            _spamtest,
            (Shape.STRING,),
            (Tag("percent", None, "spamtestplus"),),
            matching=True,
            capability="spamtest",
        ),
        Question("virustest", _virustest, (Shape.STRING,), matching=True, capability="virustest"),
    ),
)
