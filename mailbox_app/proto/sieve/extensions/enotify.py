"""Notifications: `notify` and its tests, by mail. RFC 5435, RFC 5436."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.actions import Notify
from mailbox_app.proto.sieve.extensions.fcc import fcc_of
from mailbox_app.proto.sieve.machine import Machine, Operation, Test
from mailbox_app.proto.sieve.mailto import BadMailto, parse_mailto
from mailbox_app.proto.sieve.use import Use
from mailbox_app.proto.sieve.words import Command, Extension, Question, Shape, Tag

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.compiler import Compiler


_IMPORTANCES = ("1", "2", "3")


def _notify(use: Use, compiler: Compiler) -> Operation:
    method = compiler.text(use[0])
    message, importance, sender, options = (use.tags.get(tag) for tag in ("message", "importance", "from", "options"))
    message_text = compiler.text(message) if message is not None else None
    importance_text = compiler.text(importance) if importance is not None else None
    sender_text = compiler.text(sender) if sender is not None else None
    listed = compiler.texts(options) if options is not None else None
    if method.constant is not None:
        try:
            parse_mailto(method.constant)
        except BadMailto as error:
            raise compiler.error(use[0].position, str(error)) from error
    if importance is not None and compiler.text(importance).constant not in (None, *_IMPORTANCES):
        raise compiler.error(importance.position, "the importance is one of 1 (high), 2, 3 (low)")
    fcc = fcc_of(use, compiler)

    def notify(machine: Machine) -> None:
        uri = method.value(machine)
        try:
            parse_mailto(uri)
        except BadMailto as error:
            raise machine.fault(f"notify: {error}") from error
        wanted = importance_text.value(machine) if importance_text is not None else "2"
        pairs = [each.partition("=") for each in (listed.values(machine) if listed is not None else ())]
        action = Notify(
            uri,
            message_text.value(machine) if message_text is not None else None,
            int(wanted) if wanted in _IMPORTANCES else 2,
            sender_text.value(machine) if sender_text is not None else None,
            tuple((name, value) for name, _, value in pairs),
            fcc(machine),
        )
        machine.act(action, cancels_keep=False)
        machine.note(f"notify {machine.show((uri,))}")

    return notify


def _is_method(uri: str) -> bool:
    try:
        parse_mailto(uri)
    except BadMailto:
        return False
    return True


def _valid_notify_method(use: Use, compiler: Compiler) -> Test:
    uris = compiler.texts(use[0])

    def valid_notify_method(machine: Machine) -> bool:
        wanted = uris.values(machine)
        machine.seen = ((), wanted)
        return all(_is_method(uri) for uri in wanted)

    return valid_notify_method


def _notify_method_capability(use: Use, compiler: Compiler) -> Test:
    uri, capability, keys = compiler.text(use[0]), compiler.text(use[1]), compiler.texts(use[2])
    match = compiler.match(use, keys)

    def notify_method_capability(machine: Machine) -> bool:
        known = _is_method(uri.value(machine)) and capability.value(machine).lower() == "online"
        # RFC 5436 2.4: nobody knows whether a reader of mail is there
        return match.test(machine, ("maybe",), keys) if known else False

    return notify_method_capability


EXTENSION = Extension(
    capabilities=("enotify",),
    rfc="RFC 5435, RFC 5436",
    commands=(
        Command(
            "notify",
            _notify,
            (Shape.STRING,),
            (
                Tag("from", Shape.STRING),
                Tag("importance", Shape.STRING),
                Tag("options", Shape.STRINGS),
                Tag("message", Shape.STRING),
            ),
            capability="enotify",
        ),
    ),
    questions=(
        Question("valid_notify_method", _valid_notify_method, (Shape.STRINGS,), capability="enotify"),
        Question(
            "notify_method_capability",
            _notify_method_capability,
            (Shape.STRING, Shape.STRING, Shape.STRINGS),
            matching=True,
            capability="enotify",
        ),
    ),
    tags={"set": (Tag("encodeurl", None, "enotify", "priority 15"),)},
)
