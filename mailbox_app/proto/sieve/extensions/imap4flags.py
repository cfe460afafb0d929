"""Flags and keywords: `setflag`, `addflag`, `removeflag`, `hasflag`, `:flags`. RFC 5232."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import NAME
from mailbox_app.proto.sieve.words import Command, Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler

# RFC 9051 9: a keyword is an atom; of the flags with a backslash only these can be set.
_FLAG = re.compile(
    r"\\(?:answered|flagged|deleted|seen|draft)|[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,200}", re.IGNORECASE
)
_MOST_FLAGS = 64
Flags = Callable[[Machine], tuple[str, ...]]


def split_flags(texts: Iterable[str]) -> list[str]:
    """The flags in a list of strings, each once, whatever its case; what is no flag is left out. RFC 5232 2."""
    found: dict[str, str] = {}
    for text in texts:
        for flag in text.split():
            if _FLAG.fullmatch(flag) and len(found) < _MOST_FLAGS:
                found.setdefault(flag.lower(), flag)
    return list(found.values())


def flags_of(use: Use, compiler: Compiler) -> Flags:
    """The flags that an action stores with: those of `:flags`, else the internal variable. RFC 5232 5."""
    given = use.tags.get("flags")
    if given is None:
        return lambda machine: tuple(machine.flags)
    texts = compiler.texts(given)
    return lambda machine: tuple(split_flags(texts.values(machine)))


def _variable(use: Use, compiler: Compiler) -> str:
    """The name of the variable that is meant; "" for the internal one."""
    given = use.given(0)
    if given is None:
        return ""
    if not compiler.has("variables"):
        raise compiler.error(given.position, f'`{use.call.name}` with a variable needs require "variables"')
    name = compiler.constant(given, "the name of a variable")
    if not NAME.fullmatch(name):
        raise compiler.error(given.position, f'"{name[:40]}" is not the name of a variable')
    return name.lower()


def _changing(change: Callable[[Sequence[str], Sequence[str]], Sequence[str]]) -> Callable[[Use, Compiler], Operation]:
    def compile_change(use: Use, compiler: Compiler) -> Operation:
        name = _variable(use, compiler)
        texts = compiler.texts(use[1])
        word = use.call.name

        def operation(machine: Machine) -> None:
            now = split_flags([machine.variable(name)]) if name else machine.flags
            flags = list(change(now, split_flags(texts.values(machine))))
            if name:
                machine.set_variable(name, " ".join(flags))
            else:
                machine.flags = flags
            machine.note(f"{word}{' ' + name if name else ''}: {' '.join(flags) or 'no flags'}")

        return operation

    return compile_change


def _add(now: Sequence[str], flags: Sequence[str]) -> Sequence[str]:
    return split_flags([*now, *flags])


def _remove(now: Sequence[str], flags: Sequence[str]) -> Sequence[str]:
    gone = {flag.lower() for flag in flags}
    return [flag for flag in now if flag.lower() not in gone]


def _hasflag(use: Use, compiler: Compiler) -> Test:
    given = use.given(0)
    names: Sequence[str] = ()
    if given is not None:
        if not compiler.has("variables"):
            raise compiler.error(given.position, '`hasflag` with variables needs require "variables"')
        names = [name.lower() for name in compiler.constants(given, "the names of variables")]
        for name in names:
            if not NAME.fullmatch(name):
                raise compiler.error(given.position, f'"{name[:40]}" is not the name of a variable')
    keys = compiler.texts(use[1])
    match = compiler.match(use, keys)
    exact = match.kind in ("is", "contains")

    def hasflag(machine: Machine) -> bool:
        if given is None:
            values: Sequence[str] = machine.flags
        else:
            values = [flag for name in names for flag in split_flags([machine.variable(name)])]
        wanted = split_flags(keys.values(machine)) if exact else None
        return match.test(machine, values, keys, wanted)

    return hasflag


_TEXTS = (Shape.STRING, Shape.STRINGS)
_STORED = (Tag("flags", Shape.STRINGS, "imap4flags"),)

EXTENSION = Extension(
    capabilities=("imap4flags",),
    rfc="RFC 5232",
    commands=(
        Command("setflag", _changing(lambda now, flags: flags), _TEXTS, optional=1, capability="imap4flags"),
        Command("addflag", _changing(_add), _TEXTS, optional=1, capability="imap4flags"),
        Command("removeflag", _changing(_remove), _TEXTS, optional=1, capability="imap4flags"),
    ),
    questions=(
        Question(
            "hasflag", _hasflag, (Shape.STRINGS, Shape.STRINGS), optional=1, matching=True, capability="imap4flags"
        ),
    ),
    tags={"keep": _STORED, "fileinto": _STORED},
)
