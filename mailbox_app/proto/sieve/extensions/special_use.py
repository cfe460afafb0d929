"""Mailboxes by what they are for, such as `\\Junk`. RFC 8579."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _specialuse_exists(use: Use, compiler: Compiler) -> Test:
    given = use.given(0)
    mailbox = compiler.text(given) if given is not None else None
    attributes = compiler.texts(use[1])

    def specialuse_exists(machine: Machine) -> bool:
        wanted = attributes.values(machine)
        machine.seen = ((), wanted)
        machine.spend(len(wanted) << 3)
        mailboxes = machine.context.mailboxes
        if mailbox is None:
            return all(mailboxes.by_special_use(attribute) is not None for attribute in wanted)
        name = mailbox.value(machine)
        had = {attribute.lower() for attribute in mailboxes.special_uses(name)}
        return mailboxes.exists(name) and all(attribute.lower() in had for attribute in wanted)

    return specialuse_exists


EXTENSION = Extension(
    capabilities=("special-use",),
    rfc="RFC 8579",
    questions=(
        Question(
            "specialuse_exists",
            _specialuse_exists,
            (Shape.STRING, Shape.STRINGS),
            optional=1,
            capability="special-use",
        ),
    ),
    tags={"fileinto": (Tag("specialuse", Shape.STRING, "special-use"),)},
)
