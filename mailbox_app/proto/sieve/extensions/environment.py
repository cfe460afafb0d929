"""What the server knows about itself and the connection. RFC 5183; the items of imapsieve are RFC 6785 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _environment(use: Use, compiler: Compiler) -> Test:
    name, keys = compiler.text(use[0]), compiler.texts(use[1])
    match = compiler.match(use, keys)

    def environment(machine: Machine) -> bool:
        value = machine.context.environment.get(name.value(machine).lower())
        if value is None:
            return False  # RFC 5183 4: an unknown item fails, whatever the match type
        return match.test(machine, (value,), keys)

    return environment


EXTENSION = Extension(
    capabilities=("environment", "imapsieve"),
    rfc="RFC 5183, RFC 6785",
    questions=(
        Question("environment", _environment, (Shape.STRING, Shape.STRINGS), matching=True, capability="environment"),
    ),
)
