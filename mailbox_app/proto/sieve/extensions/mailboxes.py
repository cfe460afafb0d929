"""Which mailboxes there are, `:create`, and annotations of mailboxes and the server. RFC 5490."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _mailboxexists(use: Use, compiler: Compiler) -> Test:
    names = compiler.texts(use[0])

    def mailboxexists(machine: Machine) -> bool:
        wanted = names.values(machine)
        machine.seen = ((), wanted)
        machine.spend(len(wanted) << 3)
        return all(machine.context.mailboxes.exists(name) for name in wanted)

    return mailboxexists


def _metadata(use: Use, compiler: Compiler) -> Test:
    mailbox, entry, keys = compiler.text(use[0]), compiler.text(use[1]), compiler.texts(use[2])
    match = compiler.match(use, keys)

    def metadata(machine: Machine) -> bool:
        value = machine.context.mailboxes.metadata(mailbox.value(machine), entry.value(machine))
        return match.test(machine, () if value is None else (value,), keys)

    return metadata


def _metadataexists(use: Use, compiler: Compiler) -> Test:
    mailbox, entries = compiler.text(use[0]), compiler.texts(use[1])

    def metadataexists(machine: Machine) -> bool:
        name, mailboxes = mailbox.value(machine), machine.context.mailboxes
        return all(mailboxes.metadata(name, entry) is not None for entry in entries.values(machine))

    return metadataexists


def _servermetadata(use: Use, compiler: Compiler) -> Test:
    entry, keys = compiler.text(use[0]), compiler.texts(use[1])
    match = compiler.match(use, keys)

    def servermetadata(machine: Machine) -> bool:
        value = machine.context.mailboxes.metadata(None, entry.value(machine))
        return match.test(machine, () if value is None else (value,), keys)

    return servermetadata


def _servermetadataexists(use: Use, compiler: Compiler) -> Test:
    entries = compiler.texts(use[0])

    def servermetadataexists(machine: Machine) -> bool:
        mailboxes = machine.context.mailboxes
        return all(mailboxes.metadata(None, entry) is not None for entry in entries.values(machine))

    return servermetadataexists


_TEXT, _LIST = Shape.STRING, Shape.STRINGS

EXTENSION = Extension(
    capabilities=("mailbox", "mboxmetadata", "servermetadata"),
    rfc="RFC 5490",
    questions=(
        Question("mailboxexists", _mailboxexists, (_LIST,), capability="mailbox"),
        Question("metadata", _metadata, (_TEXT, _TEXT, _LIST), matching=True, capability="mboxmetadata"),
        Question("metadataexists", _metadataexists, (_TEXT, _LIST), capability="mboxmetadata"),
        Question("servermetadata", _servermetadata, (_TEXT, _LIST), matching=True, capability="servermetadata"),
        Question("servermetadataexists", _servermetadataexists, (_LIST,), capability="servermetadata"),
    ),
    tags={"fileinto": (Tag("create", None, "mailbox"),)},
)
