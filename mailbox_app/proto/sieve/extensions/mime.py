"""Tests of MIME parts, loops over them, and their text. RFC 5703."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.extensions.variables import MODIFIERS, assign, modifiers_of, variable_name
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.parts import is_text, part_text, sections_below
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


class _Break(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


def _name(use: Use, compiler: Compiler) -> str:
    given = use.tags.get("name")
    return compiler.constant(given, "the name of a loop") if given is not None else ""


def _foreverypart(use: Use, compiler: Compiler) -> Operation:
    name = _name(use, compiler)
    compiler.loops.append(name)
    try:
        block = compiler.block(use.call.block or ())
    finally:
        compiler.loops.pop()

    def foreverypart(machine: Machine) -> None:
        outer = machine.part
        # a loop in a loop goes through what is within the current part. RFC 5703 3
        parts = sections_below(machine, outer or 0, deep=True)
        if outer is not None:
            parts = parts[1:]
        message = machine.context.message
        try:
            for index in parts:
                machine.part = index
                machine.spend(1)
                machine.run(block)
                if machine.context.message is not message:
                    break  # another one took its place: these are not its parts
        except _Break as found:
            if found.name and found.name != name:
                raise
        finally:
            machine.part = outer
            if outer is None:
                machine.settle()

    return foreverypart


def _break(use: Use, compiler: Compiler) -> Operation:
    name = _name(use, compiler)
    if not compiler.loops:
        raise compiler.error(use.call.position, "`break` must be within a `foreverypart`")
    if name and name not in compiler.loops:
        raise compiler.error(use.call.position, f'there is no `foreverypart` with the name "{name[:40]}" around this')

    def operation(machine: Machine) -> None:
        raise _Break(name)

    return operation


def _extracttext(use: Use, compiler: Compiler) -> Operation:
    if not compiler.has("variables"):
        raise compiler.error(use.call.position, '`extracttext` needs require "variables"')
    if not compiler.loops:
        raise compiler.error(use.call.position, "`extracttext` must be within a `foreverypart`")
    name = variable_name(use, compiler, 0)
    changes = modifiers_of(use)
    first = use.tags.get("first")

    def extracttext(machine: Machine) -> None:
        part = machine.context.message.parts.part(machine.part or 0)
        text = part_text(machine, part, html_as_text=True) if is_text(part) else ""
        text = text[: first.number] if first is not None else text
        for change in changes:
            text = change(text)
        assign(machine, name, text)
        machine.note(f"extracttext {name} = {machine.show((text,))}")

    return extracttext


_PLACE = (Tag("mime", None, "mime"), Tag("anychild", None, "mime"))
_NAMED = (Tag("name", Shape.STRING),)

EXTENSION = Extension(
    capabilities=("mime", "foreverypart", "extracttext"),
    rfc="RFC 5703",
    commands=(
        Command("foreverypart", _foreverypart, (), _NAMED, block=True, capability="foreverypart"),
        Command("break", _break, (), _NAMED, capability="foreverypart"),
        Command(
            "extracttext",
            _extracttext,
            (Shape.STRING,),
            (Tag("first", Shape.NUMBER), *MODIFIERS),
            capability="extracttext",
        ),
    ),
    tags={
        "header": (
            *_PLACE,
            Tag("type", None, "mime", "mime_value"),
            Tag("subtype", None, "mime", "mime_value"),
            Tag("contenttype", None, "mime", "mime_value"),
            Tag("param", Shape.STRINGS, "mime", "mime_value"),
        ),
        "address": _PLACE,
        "exists": _PLACE,
    },
)
