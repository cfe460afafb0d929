"""Scripts for more than one server: `ihave`, `error`. RFC 5463."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Question, Shape

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _ihave(use: Use, compiler: Compiler) -> Test:
    names = compiler.constants(use[0], "the names of extensions")
    # RFC 5463 4: those that change how strings are read cannot be had in the middle of a script
    available = all(compiler.offers(name) and (name not in _LEXICAL or name in compiler.required) for name in names)
    if available:
        for name in names:
            compiler.grant(name)

    def ihave(machine: Machine) -> bool:
        machine.seen = ((), names)
        return available

    return ihave


def _error(use: Use, compiler: Compiler) -> Operation:
    message = compiler.text(use[0])

    def error(machine: Machine) -> None:
        raise machine.fault(message.value(machine)[:500])

    return error


_LEXICAL = frozenset({"variables", "encoded-character"})

EXTENSION = Extension(
    capabilities=("ihave",),
    rfc="RFC 5463",
    commands=(Command("error", _error, (Shape.STRING,), capability="ihave"),),
    questions=(Question("ihave", _ihave, (Shape.STRINGS,), capability="ihave"),),
)
