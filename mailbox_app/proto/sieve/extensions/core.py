"""The base language: what every script may use. RFC 5228."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address
from mailbox_app.proto.sieve.actions import Discard, Keep, Redirect
from mailbox_app.proto.sieve.extensions.imap4flags import flags_of
from mailbox_app.proto.sieve.machine import Machine, Operation, Stop, Test
from mailbox_app.proto.sieve.sections import address_parts_of, address_values, field_source
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Question, Shape, Tag, Tests

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler

_NAMED = re.compile(r"[^<>]*+<([^<>]*+)>\s*+")
_LONGEST_TARGET = 1_000
"""More is no address; a bound for the patterns, which look at white space again and again."""
_DOTTED = re.compile(r"(?=\.|.*\.\.|.*\.\Z)[\w.!#$%&'*+/=?^`{|}~-]++", re.ASCII)
"""Dots that an address has no place for but some providers gave out: quoted, it is one."""
_SPACED = re.compile(r"\s*+([@.])\s*+")


def _keep(use: Use, compiler: Compiler) -> Operation:
    flags = flags_of(use, compiler)

    def keep(machine: Machine) -> None:
        machine.act(Keep(flags(machine), False, machine.edits or None), cancels_keep=True)
        machine.note("keep")

    return keep


def _discard(use: Use, compiler: Compiler) -> Operation:
    def discard(machine: Machine) -> None:
        machine.act(Discard(), cancels_keep=True)
        machine.note("discard")

    return discard


def _stop(use: Use, compiler: Compiler) -> Operation:
    def stop(machine: Machine) -> None:
        machine.note("stop")
        raise Stop

    return stop


def target_address(text: str) -> str:
    """The one address in a text, a name and white space around it allowed; raises `ProtocolError`."""
    if len(text) > _LONGEST_TARGET:
        return str(parse_address(text))
    named = _NAMED.fullmatch(text)
    plain = _SPACED.sub(r"\1", (named[1] if named else text).strip())
    local, at, domain = plain.rpartition("@")
    if _DOTTED.fullmatch(local):
        plain = f'"{local}"{at}{domain}'
    return str(parse_address(plain))


def _redirect(use: Use, compiler: Compiler) -> Operation:
    target = compiler.text(use[0])
    copy = "copy" in use.tags
    if target.constant is not None:
        try:
            target_address(target.constant)
        except ProtocolError as error:
            message = f'"{target.constant[:80]}" is not an address: {error.public_text}'
            raise compiler.error(use[0].position, message) from error

    def redirect(machine: Machine) -> None:
        text = target.value(machine)
        try:
            address = target_address(text)
        except ProtocolError as error:
            raise machine.fault(f'redirect: "{text[:80]}" is not an address') from error
        machine.act(Redirect(address, copy, machine.edits or None), cancels_keep=not copy)
        machine.note(f"redirect {':copy ' if copy else ''}{address}")

    return redirect


def _always(result: bool) -> Test:
    return lambda machine: result


def _allof(use: Use, compiler: Compiler) -> Test:
    tests = [compiler.test(call) for call in use.call.tests]
    return lambda machine: all(test(machine) for test in tests)


def _anyof(use: Use, compiler: Compiler) -> Test:
    tests = [compiler.test(call) for call in use.call.tests]
    return lambda machine: any(test(machine) for test in tests)


def _not(use: Use, compiler: Compiler) -> Test:
    test = compiler.test(use.call.tests[0])
    return lambda machine: not test(machine)


def _size(use: Use, compiler: Compiler) -> Test:
    limit = use[0].number
    if "bound" not in use.groups:
        raise compiler.error(use.call.position, "`size` needs `:over` or `:under`")
    over = use.groups["bound"] == "over"

    def size(machine: Machine) -> bool:
        actual = machine.size_bytes()
        machine.seen = ((str(actual),), (str(limit),))
        return actual > limit if over else actual < limit

    return size


def _exists(use: Use, compiler: Compiler) -> Test:
    names = compiler.texts(use[0])
    source = field_source(use, compiler)

    def exists(machine: Machine) -> bool:
        wanted = names.values(machine)
        machine.spend(len(wanted))
        return all(source.raw(machine, name) for name in wanted)

    return exists


def _header(use: Use, compiler: Compiler) -> Test:
    names, keys = compiler.texts(use[0]), compiler.texts(use[1])
    source = field_source(use, compiler)
    match = compiler.match(use, keys)

    def header(machine: Machine) -> bool:
        values = [value for name in names.values(machine) for value in source.values(machine, name)]
        return match.test(machine, values, keys)

    return header


def _address(use: Use, compiler: Compiler) -> Test:
    names, keys = compiler.texts(use[0]), compiler.texts(use[1])
    source = field_source(use, compiler)
    parts = address_parts_of(use)
    match = compiler.match(use, keys)

    def address(machine: Machine) -> bool:
        values: list[str] = []
        for name in names.values(machine):
            for raw in source.raw(machine, name):
                values += address_values(machine, raw, parts)
        return match.test(machine, values, keys)

    return address


_BOUNDS = (Tag("over", group="bound"), Tag("under", group="bound"))
_TWO_LISTS = (Shape.STRINGS, Shape.STRINGS)

EXTENSION = Extension(
    capabilities=("comparator-i;octet", "comparator-i;ascii-casemap"),
    rfc="RFC 5228",
    commands=(
        Command("keep", _keep),
        Command("discard", _discard),
        Command("stop", _stop),
        Command("redirect", _redirect, (Shape.STRING,)),
    ),
    questions=(
        Question("true", lambda use, compiler: _always(True)),
        Question("false", lambda use, compiler: _always(False)),
        Question("allof", _allof, tests=Tests.MANY),
        Question("anyof", _anyof, tests=Tests.MANY),
        Question("not", _not, tests=Tests.ONE),
        Question("size", _size, (Shape.NUMBER,), _BOUNDS),
        Question("exists", _exists, (Shape.STRINGS,)),
        Question("header", _header, _TWO_LISTS, matching=True),
        Question("address", _address, _TWO_LISTS, matching=True, address_parts=True),
    ),
    match_types=(Tag("is", group="match"), Tag("contains", group="match"), Tag("matches", group="match")),
    address_parts=(Tag("all", group="part"), Tag("localpart", group="part"), Tag("domain", group="part")),
)
