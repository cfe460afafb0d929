"""The `envelope` test. RFC 5228 5.4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.sections import address_parts_of
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_PARTS = ("from", "to", "auth")


def _value(machine: Machine, part: str) -> str | None:
    context = machine.context
    if part == "from":
        return context.sender
    return context.recipient if part == "to" else context.authenticated or None


def _envelope(use: Use, compiler: Compiler) -> Test:
    names, keys = compiler.texts(use[0]), compiler.texts(use[1])
    for name in names.constant or ():
        if name.lower() not in _PARTS:
            raise compiler.error(use[0].position, f'"{name[:40]}" is not a part of the envelope: {", ".join(_PARTS)}')
    part = address_parts_of(use)
    match = compiler.match(use, keys)

    def envelope(machine: Machine) -> bool:
        if machine.context.flags is not None:  # RFC 6785 3
            raise machine.fault("envelope: a message that is in a mailbox already has none")
        values: list[str] = []
        for name in names.values(machine):
            key = name.lower()
            if key not in _PARTS:
                raise machine.fault(f'envelope: "{name[:40]}" is not a part of the envelope')
            address = _value(machine, key)
            if address is None or (not address and key == "to"):  # only the reverse-path can be null
                continue
            if not address or key == "auth":  # the null sender is the empty string, whatever part is asked for
                values.append(address)
                continue
            local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
            broken = bool(at) and not (local and domain)  # then no part of it means anything
            whole = "part" not in use.groups or use.groups["part"] == "all"
            value = address if broken and whole else None if broken else part(machine, local, domain)
            if value is not None:
                values.append(value)
        return match.test(machine, values, keys)

    return envelope


EXTENSION = Extension(
    capabilities=("envelope",),
    rfc="RFC 5228 5.4",
    questions=(
        Question(
            "envelope",
            _envelope,
            (Shape.STRINGS, Shape.STRINGS),
            matching=True,
            address_parts=True,
            capability="envelope",
        ),
    ),
)
