"""Mailboxes by their id, which a rename does not change. RFC 9042."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _mailboxidexists(use: Use, compiler: Compiler) -> Test:
    ids = compiler.texts(use[0])

    def mailboxidexists(machine: Machine) -> bool:
        wanted = ids.values(machine)
        machine.seen = ((), wanted)
        machine.spend(len(wanted) << 3)
        return all(machine.context.mailboxes.by_id(each) is not None for each in wanted)

    return mailboxidexists


EXTENSION = Extension(
    capabilities=("mailboxid",),
    rfc="RFC 9042",
    questions=(Question("mailboxidexists", _mailboxidexists, (Shape.STRINGS,), capability="mailboxid"),),
    tags={"fileinto": (Tag("mailboxid", Shape.STRING, "mailboxid"),)},
)
