"""Scripts within scripts. RFC 6609."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Operation, Return
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import NAME
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _include(use: Use, compiler: Compiler) -> Operation:
    name = compiler.text(use[0])
    location = use.groups.get("location", "personal")
    once, optional = "once" in use.tags, "optional" in use.tags

    def include(machine: Machine) -> None:
        machine.include(location, name.value(machine), once=once, optional=optional)

    return include


def _return(use: Use, compiler: Compiler) -> Operation:
    def operation(machine: Machine) -> None:
        machine.note("return")
        raise Return

    return operation


def _global(use: Use, compiler: Compiler) -> Operation:
    if not compiler.has("variables"):
        raise compiler.error(use.call.position, '`global` needs require "variables"')
    names = [name.lower() for name in compiler.constants(use[0], "the names of variables")]
    for name in names:
        if not NAME.fullmatch(name):
            raise compiler.error(use[0].position, f'"{name[:40]}" is not the name of a variable')

    def operation(machine: Machine) -> None:
        machine.frame.globals_used.update(names)

    return operation


EXTENSION = Extension(
    capabilities=("include",),
    rfc="RFC 6609",
    commands=(
        Command(
            "include",
            _include,
            (Shape.STRING,),
            (Tag("personal", None, "", "location"), Tag("global", None, "", "location"), Tag("once"), Tag("optional")),
            capability="include",
        ),
        Command("return", _return, capability="include"),
        Command("global", _global, (Shape.STRINGS,), capability="include"),
    ),
)
