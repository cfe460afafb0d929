"""Messages that were here before. RFC 7352."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.machine import Machine, Test
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_DEFAULT_SECONDS = 7 * 86_400


def _duplicate(use: Use, compiler: Compiler) -> Test:
    handle, header, unique = (use.tags.get(tag) for tag in ("handle", "header", "uniqueid"))
    handle_text = compiler.text(handle) if handle is not None else None
    header_text = compiler.text(header) if header is not None else None
    unique_text = compiler.text(unique) if unique is not None else None
    given = use.tags.get("seconds")
    wanted = given.number if given is not None else _DEFAULT_SECONDS
    seconds = min(wanted, compiler.limits.duplicate_seconds)
    last = "last" in use.tags

    def duplicate(machine: Machine) -> bool:
        if unique_text is not None:
            kind, value = "uniqueid", unique_text.value(machine)
        else:
            kind = (header_text.value(machine) if header_text is not None else "message-id").lower()
            values = machine.raw_values(kind)
            if not values:
                return False  # RFC 7352 3: what has no such field is never a duplicate
            value = values[0].decode("utf-8", "surrogateescape").strip()
        own = handle_text.value(machine) if handle_text is not None else ""
        machine.seen = ((value,), (own,))
        kind = "uniqueid" if unique_text is not None else "header"
        text = "\0".join((own, kind, value))
        identity = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        return machine.duplicate(identity, seconds, last=last)

    return duplicate


EXTENSION = Extension(
    capabilities=("duplicate",),
    rfc="RFC 7352",
    questions=(
        Question(
            "duplicate",
            _duplicate,
            (),
            (
                Tag("handle", Shape.STRING),
                Tag("header", Shape.STRING, "", "identity"),
                Tag("uniqueid", Shape.STRING, "", "identity"),
                Tag("seconds", Shape.NUMBER),
                Tag("last"),
            ),
            capability="duplicate",
        ),
    ),
)
