"""Refusing a message. RFC 5429."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.actions import Reject
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Shape

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _reject(use: Use, compiler: Compiler) -> Operation:
    reason = compiler.text(use[0])
    extended = use.call.name == "ereject"

    def reject(machine: Machine) -> None:
        text = reason.value(machine)
        machine.act(Reject(text, extended), cancels_keep=True)
        machine.note(f"{'ereject' if extended else 'reject'} {machine.show((text,))}")

    return reject


EXTENSION = Extension(
    capabilities=("reject", "ereject"),
    rfc="RFC 5429",
    commands=(
        Command("reject", _reject, (Shape.STRING,), capability="reject"),
        Command("ereject", _reject, (Shape.STRING,), capability="ereject"),
    ),
)
