"""`set`, the `string` test, and how values are changed on the way. RFC 5229."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import NAME
from mailbox_app.proto.sieve.words import Command, Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


Change = Callable[[str], str]

_WILDCARD = re.compile(r"[*?\\]")
_REGEX = re.compile(r"[.^$*+?()\[\]{}|\\]")


def _quote_wildcards(text: str) -> str:
    return _WILDCARD.sub(r"\\\g<0>", text)


def _quote_regex(text: str) -> str:
    return _REGEX.sub(r"\\\g<0>", text)


def _encode_url(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="-._~")  # RFC 5435 6


# By precedence, the highest first: RFC 5229 4.1.
_CHANGES: Sequence[tuple[str, Change]] = (
    ("lower", str.lower),
    ("upper", str.upper),
    ("lowerfirst", lambda text: text[:1].lower() + text[1:]),
    ("upperfirst", lambda text: text[:1].upper() + text[1:]),
    ("quotewildcard", _quote_wildcards),
    ("quoteregex", _quote_regex),
    ("encodeurl", _encode_url),
    ("length", lambda text: str(len(text))),
)


def modifiers_of(use: Use) -> Sequence[Change]:
    """What the tags of a `set` or `extracttext` do to the value, in order."""
    return [change for name, change in _CHANGES if name in use.tags]


def variable_name(use: Use, compiler: Compiler, index: int) -> str:
    """The name of the variable to be set, in lower case."""
    name = compiler.constant(use[index], "the name of a variable")
    prefix, dot, plain = name.rpartition(".")
    if dot and not (prefix.lower() == "global" and compiler.has("include")):
        raise compiler.error(use[index].position, f'the variable namespace "{prefix[:40]}" is not known')
    if not NAME.fullmatch(plain):
        raise compiler.error(use[index].position, f'"{name[:40]}" is not the name of a variable that can be set')
    return name.lower()


def assign(machine: Machine, name: str, value: str) -> None:
    """Set a variable, or one of the namespace that included scripts share. RFC 6609 3.4.2."""
    if name.startswith("global."):
        machine.set_global(name.removeprefix("global."), value)
    else:
        machine.set_variable(name, value)


def _set(use: Use, compiler: Compiler) -> Operation:
    name = variable_name(use, compiler, 0)
    text = compiler.text(use[1])
    changes = modifiers_of(use)

    def operation(machine: Machine) -> None:
        value = text.value(machine)
        for change in changes:
            value = change(value)
        machine.spend(len(value) >> 9)
        assign(machine, name, value)
        machine.note(f"set {name} = {machine.show((value,))}")

    return operation


def _string(use: Use, compiler: Compiler) -> Test:
    source, keys = compiler.texts(use[0]), compiler.texts(use[1])
    match = compiler.match(use, keys)

    def string(machine: Machine) -> bool:
        values = source.values(machine)
        if match.kind == "count":
            values = [value for value in values if value]  # RFC 5229 5
        return match.test(machine, values, keys)

    return string


MODIFIERS = (
    Tag("lower", None, "", "priority 40"),
    Tag("upper", None, "", "priority 40"),
    Tag("lowerfirst", None, "", "priority 30"),
    Tag("upperfirst", None, "", "priority 30"),
    Tag("quotewildcard", None, "", "priority 20"),
    Tag("length", None, "", "priority 10"),
)

EXTENSION = Extension(
    capabilities=("variables",),
    rfc="RFC 5229",
    commands=(Command("set", _set, (Shape.STRING, Shape.STRING), MODIFIERS, capability="variables"),),
    questions=(Question("string", _string, (Shape.STRINGS, Shape.STRINGS), matching=True, capability="variables"),),
)
