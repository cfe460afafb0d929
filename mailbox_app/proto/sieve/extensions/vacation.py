"""Automatic answers. RFC 5230, `:seconds` RFC 6131."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mailbox_app.proto.address_list import parse_address_items
from mailbox_app.proto.sieve.actions import Vacation
from mailbox_app.proto.sieve.extensions.fcc import fcc_of
from mailbox_app.proto.sieve.machine import Machine, Operation
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_DAY = 86_400


def _period(use: Use, compiler: Compiler) -> int:
    """Seconds; out of bounds the nearest that is allowed. RFC 5230 4.1, RFC 6131 2."""
    limits = compiler.limits
    seconds, days = use.tags.get("seconds"), use.tags.get("days")
    if seconds is not None:
        if seconds.number == 0:
            return 0
        return min(max(seconds.number, limits.vacation_seconds_least), limits.vacation_seconds_most)
    return min(max(days.number if days is not None else 7, 1) * _DAY, limits.vacation_seconds_most)


def _handle(use: Use) -> str:
    """Answers that differ in what the script says differ in their handle; variables do not make a difference."""
    digest = hashlib.sha256(b"mime" if "mime" in use.tags else b"text")
    for argument in (use[0], use.tags.get("subject"), use.tags.get("from")):
        text = "\0".join(argument.strings) if argument is not None else "\1"
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


def is_sender(text: str) -> bool:
    """Whether it is one address, with or without a name."""
    items = parse_address_items(text.encode("utf-8", "surrogateescape"), 2)
    return len(items) == 1 and bool(items[0].localpart) and bool(items[0].domain) and text.isprintable()


def _vacation(use: Use, compiler: Compiler) -> Operation:
    reason = compiler.text(use[0])
    subject, sender, addresses, handle = (use.tags.get(tag) for tag in ("subject", "from", "addresses", "handle"))
    subject_text = compiler.text(subject) if subject is not None else None
    sender_text = compiler.text(sender) if sender is not None else None
    own = compiler.texts(addresses) if addresses is not None else None
    handle_text = compiler.text(handle) if handle is not None else None
    constant = sender_text.constant if sender_text is not None else None
    if sender is not None and constant is not None and not is_sender(constant):
        raise compiler.error(sender.position, f'"{constant[:80]}" is not an address')
    seconds, mime, made = _period(use, compiler), "mime" in use.tags, _handle(use)
    fcc = fcc_of(use, compiler)

    def vacation(machine: Machine) -> None:
        chosen = sender_text.value(machine) if sender_text is not None else None
        if chosen is not None and not is_sender(chosen):
            machine.note(f"vacation: {machine.show((chosen,))} is not an address and is not used as the sender")
            chosen = None
        action = Vacation(
            reason.value(machine),
            seconds,
            " ".join(subject_text.value(machine).split()) if subject_text is not None else None,
            chosen,
            tuple(own.values(machine)) if own is not None else (),
            mime,
            (handle_text.value(machine) if handle_text is not None else "") or made,
            fcc(machine),
        )
        machine.act(action, cancels_keep=False)
        machine.note(f"vacation, once in {seconds} seconds")

    return vacation


EXTENSION = Extension(
    capabilities=("vacation", "vacation-seconds"),
    rfc="RFC 5230, RFC 6131",
    commands=(
        Command(
            "vacation",
            _vacation,
            (Shape.STRING,),
            (
                Tag("days", Shape.NUMBER, "", "period"),
                Tag("seconds", Shape.NUMBER, "vacation-seconds", "period"),
                Tag("subject", Shape.STRING),
                Tag("from", Shape.STRING),
                Tag("addresses", Shape.STRINGS),
                Tag("mime"),
                Tag("handle", Shape.STRING),
            ),
            capability="vacation",
        ),
    ),
)
