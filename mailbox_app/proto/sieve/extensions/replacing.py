"""Parts or all of the message replaced by a text, the message enclosed in another one. RFC 5703 5, 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.dates import format_date
from mailbox_app.proto.sieve.extensions.vacation import is_sender
from mailbox_app.proto.sieve.header_edits import render_field
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.rewritten import enclosed, own_entity, replaced, text_entity
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


def _replace(use: Use, compiler: Compiler) -> Operation:
    replacement = compiler.text(use[0])
    subject, sender = use.tags.get("subject"), use.tags.get("from")
    subject_text = compiler.text(subject) if subject is not None else None
    sender_text = compiler.text(sender) if sender is not None else None
    constant = sender_text.constant if sender_text is not None else None
    if sender is not None and constant is not None and not is_sender(constant):
        raise compiler.error(sender.position, f'"{constant[:80]}" is not an address')
    entity_of = own_entity if "mime" in use.tags else text_entity

    def replace(machine: Machine) -> None:
        entity = entity_of(replacement.value(machine).encode("utf-8", "surrogateescape"))
        if machine.part:
            machine.replace_part(entity)
            machine.note(f"replace part {machine.part}")
            return
        fields: dict[bytes, bytes] = {}
        if subject_text is not None:
            fields[b"subject"] = render_field("Subject", " ".join(subject_text.value(machine).split()))
        chosen = sender_text.value(machine) if sender_text is not None else ""
        if chosen and is_sender(chosen):
            fields[b"from"] = render_field("From", chosen)
        elif chosen:
            machine.note(f"replace: {machine.show((chosen,))} is not an address and is not used")
        machine.rewrite(replaced(machine.head(), entity, fields))
        machine.note("replace the whole message")

    return replace


def _enclose(use: Use, compiler: Compiler) -> Operation:
    text = compiler.text(use[0])
    subject, headers = use.tags.get("subject"), use.tags.get("headers")
    subject_text = compiler.text(subject) if subject is not None else None
    names = compiler.texts(headers) if headers is not None else None

    def enclose(machine: Machine) -> None:
        context = machine.context
        fields = {b"date": b"Date: " + format_date(context.now) + b"\r\n"}
        if context.recipient:
            fields[b"from"] = render_field("From", f"<{context.recipient}>")
        if subject_text is not None:
            fields[b"subject"] = render_field("Subject", " ".join(subject_text.value(machine).split()))
        wanted = names.values(machine) if names is not None else () if context.recipient else ("From",)
        body = text.value(machine).encode("utf-8", "surrogateescape")
        machine.enclose(lambda message: enclosed(machine.head(), message, body, wanted, fields))
        machine.note("enclose the message")

    return enclose


EXTENSION = Extension(
    capabilities=("replace", "enclose"),
    rfc="RFC 5703 5, 6",
    commands=(
        Command(
            "replace",
            _replace,
            (Shape.STRING,),
            (Tag("mime"), Tag("subject", Shape.STRING), Tag("from", Shape.STRING)),
            capability="replace",
        ),
        Command(
            "enclose",
            _enclose,
            (Shape.STRING,),
            (Tag("subject", Shape.STRING), Tag("headers", Shape.STRINGS)),
            capability="enclose",
        ),
    ),
)
