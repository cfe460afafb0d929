"""Adding and deleting header fields. RFC 5293."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.header import decode_words
from mailbox_app.proto.sieve.header_edits import HeaderEdits, Place
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.values import Text, tidy
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_NAME = re.compile(r"[!-9;-~]{1,200}")


def _field_name(machine: Machine, text: str, word: str) -> str:
    if not _NAME.fullmatch(text):
        raise machine.fault(f'{word}: "{text[:80]}" is not the name of a header field')
    return text


def _check_name(use: Use, compiler: Compiler) -> Text:
    name = compiler.text(use[0])
    if name.constant is not None and not _NAME.fullmatch(name.constant):
        raise compiler.error(use[0].position, f'"{name.constant[:80]}" is not the name of a header field')
    return name


def _edited(machine: Machine, edits: HeaderEdits) -> None:
    if len(edits.above) + len(edits.below) + len(edits.removed) > machine.limits.header_edits:
        raise machine.fault(f"more than {machine.limits.header_edits} changes of the header")
    machine.edit(edits)


def _addheader(use: Use, compiler: Compiler) -> Operation:
    name, value = _check_name(use, compiler), compiler.text(use[1])
    last = "last" in use.tags

    def addheader(machine: Machine) -> None:
        field = _field_name(machine, name.value(machine), "addheader")
        if field.lower() in machine.limits.unaddable_fields:
            machine.note(f"addheader: {field} is protected and is not added")
            return
        text = " ".join(value.value(machine).split())
        if "\0" in text:
            raise machine.fault("addheader: the value has a NUL character")
        _edited(machine, machine.edits.added(field, text, last=last))
        machine.note(f"addheader {field}: {machine.show((text,))}")

    return addheader


def _deleteheader(use: Use, compiler: Compiler) -> Operation:
    name = _check_name(use, compiler)
    given = use.given(1)
    keys = compiler.texts(given) if given is not None else None
    index = use.tags.get("index")
    last = "last" in use.tags
    if last and index is None:
        raise compiler.error(use.call.position, "`:last` needs `:index`")
    if index is not None and index.number < 1:
        raise compiler.error(index.position, "fields are counted from 1")
    match = compiler.match(use, keys, capture=False) if keys is not None else None
    if match is not None and match.kind == "count":
        raise compiler.error(use.call.position, "`deleteheader` cannot use `:count`")

    def chosen(machine: Machine, found: Sequence[Place]) -> Sequence[Place]:
        if index is not None:
            number = index.number
            if number > len(found):
                return ()
            found = (found[-number] if last else found[number - 1],)
        if match is None or keys is None:
            return found
        return [place for place in found if match.test(machine, (tidy(decode_words(place.value)),), keys)]

    def deleteheader(machine: Machine) -> None:
        field = _field_name(machine, name.value(machine), "deleteheader")
        key = field.lower()
        if key in machine.limits.protected_fields:
            machine.note(f"deleteheader: {field} is protected and stays")
            return
        gone = chosen(machine, machine.places(key))
        if gone:
            _edited(machine, machine.edits.without(gone))
        machine.note(f"deleteheader {field}: {len(gone)} removed")

    return deleteheader


EXTENSION = Extension(
    capabilities=("editheader",),
    rfc="RFC 5293",
    commands=(
        Command("addheader", _addheader, (Shape.STRING, Shape.STRING), (Tag("last"),), capability="editheader"),
        Command(
            "deleteheader",
            _deleteheader,
            (Shape.STRING, Shape.STRINGS),
            (Tag("index", Shape.NUMBER), Tag("last")),
            optional_last=1,
            matching=True,
            capability="editheader",
        ),
    ),
)
