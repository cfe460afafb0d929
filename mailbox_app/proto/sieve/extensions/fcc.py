"""`:fcc`: file a copy of what vacation or notify sends. RFC 8580."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.actions import Fcc
from mailbox_app.proto.sieve.extensions.imap4flags import split_flags
from mailbox_app.proto.sieve.machine import Machine
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def fcc_of(use: Use, compiler: Compiler) -> Callable[[Machine], Fcc | None]:
    """Where the copy goes, by the tags of a vacation or notify."""
    given = use.tags.get("fcc")
    if given is None:
        for tag in ("create", "flags", "specialuse", "mailboxid"):
            if tag in use.tags:
                raise compiler.error(use.call.position, f"`:{tag}` needs `:fcc` here")
        return lambda machine: None
    mailbox = compiler.text(given)
    listed, special, by_id = (use.tags.get(tag) for tag in ("flags", "specialuse", "mailboxid"))
    flags = compiler.texts(listed) if listed is not None else None
    attribute = compiler.text(special) if special is not None else None
    mailbox_id = compiler.text(by_id) if by_id is not None else None
    create = "create" in use.tags

    def target(machine: Machine) -> Fcc | None:
        return Fcc(
            mailbox.value(machine),
            tuple(split_flags(flags.values(machine))) if flags is not None else (),
            create,
            attribute.value(machine) if attribute is not None else "",
            mailbox_id.value(machine) if mailbox_id is not None else "",
        )

    return target


_TAGS = (
    Tag("fcc", Shape.STRING, "fcc"),
    Tag("create", None, "mailbox"),
    Tag("flags", Shape.STRINGS, "imap4flags"),
    Tag("specialuse", Shape.STRING, "special-use"),
    Tag("mailboxid", Shape.STRING, "mailboxid"),
)

EXTENSION = Extension(capabilities=("fcc",), rfc="RFC 8580", tags={"vacation": _TAGS, "notify": _TAGS})
