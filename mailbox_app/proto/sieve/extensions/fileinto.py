"""`fileinto` and `:copy`: RFC 5228 4.1, RFC 3894. Other tags of it are rows of the extensions that they belong to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.actions import FileInto
from mailbox_app.proto.sieve.extensions.imap4flags import flags_of
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _problem(name: str) -> str:
    """Why this cannot be the name of a mailbox; "" when it can."""
    if not name:
        return "the name of the mailbox is empty"
    if _UNFIT.search(name):
        return "the name of the mailbox has bytes that are no text, or control characters"
    return ""


def _fileinto(use: Use, compiler: Compiler) -> Operation:
    mailbox = compiler.text(use[0])
    if mailbox.constant is not None and (problem := _problem(mailbox.constant)):
        raise compiler.error(use[0].position, problem)
    flags = flags_of(use, compiler)
    copy, create = "copy" in use.tags, "create" in use.tags
    special = use.tags.get("specialuse")
    attribute = compiler.text(special) if special is not None else None
    by_id = use.tags.get("mailboxid")
    mailbox_id = compiler.text(by_id) if by_id is not None else None
    if special is not None and by_id is not None:
        raise compiler.error(by_id.position, "`:specialuse` and `:mailboxid` exclude each other")  # RFC 9042 4

    def fileinto(machine: Machine) -> None:
        name = mailbox.value(machine)
        if problem := _problem(name):
            raise machine.fault(f"fileinto: {problem}")
        action = FileInto(
            name,
            flags(machine),
            copy,
            create,
            attribute.value(machine) if attribute is not None else "",
            mailbox_id.value(machine) if mailbox_id is not None else "",
            machine.edits or None,
        )
        machine.act(action, cancels_keep=not copy)
        machine.note(f"fileinto {':copy ' if copy else ''}{machine.show((name,))}")

    return fileinto


_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_COPY = (Tag("copy", None, "copy"),)

EXTENSION = Extension(
    capabilities=("fileinto", "copy"),
    rfc="RFC 5228 4.1, RFC 3894",
    commands=(Command("fileinto", _fileinto, (Shape.STRING,), capability="fileinto"),),
    tags={"fileinto": _COPY, "redirect": _COPY},
)
