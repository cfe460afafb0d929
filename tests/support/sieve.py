"""Scripts run on messages in tests: one call, readable results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mailbox_app.proto.sieve.actions import Action, Discard, FileInto, Keep, Notify, Redirect, Reject
from mailbox_app.proto.sieve.context import Context
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.limits import Limits
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import DEFAULT_LIMITS, Outcome, Script, compile_script, run

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
MAIL = "From: bob@example.com\nTo: alice@example.org\nSubject: hello\nMessage-ID: <1@example.com>\n\nbody\n"


@dataclass
class World:
    """Mailboxes, scripts and memory that a script may ask about."""

    special: Mapping[str, str] = field(default_factory=dict)
    """Name by attribute."""
    names: Collection[str] = ("INBOX",)
    ids: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[tuple[str | None, str], str] = field(default_factory=dict)
    scripts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    remembered: Collection[str] = ()

    def exists(self, name: str) -> bool:
        return name in self.names

    def by_special_use(self, attribute: str) -> str | None:
        return self.special.get(attribute.lower())

    def special_uses(self, name: str) -> Collection[str]:
        return [attribute for attribute, mailbox in self.special.items() if mailbox == name]

    def by_id(self, mailbox_id: str) -> str | None:
        return self.ids.get(mailbox_id)

    def metadata(self, name: str | None, entry: str) -> str | None:
        return self.annotations.get((name, entry))

    def script(self, location: str, name: str) -> Script | None:
        source = self.scripts.get((location, name))
        return compile_script(source) if source is not None else None

    def seen(self, identity: str) -> bool:
        return identity in self.remembered


def context_of(message: str | bytes = MAIL, world: World | None = None, **facts: Any) -> Context:
    """A context with an envelope; `facts` are fields of `Context`."""
    data = message if isinstance(message, bytes) else message.replace("\n", "\r\n").encode()
    world = world or World()
    context = Context(Message.of_bytes(data), NOW, "bob@example.com", "alice@example.org")
    return replace(context, mailboxes=world, library=world, memory=world, **facts)


def outcome_of(
    script: str, message: str | bytes = MAIL, world: World | None = None, limits: Limits = DEFAULT_LIMITS, **facts: Any
) -> Outcome:
    """What a script decides about a message."""
    return run(compile_script(script, limits), context_of(message, world, **facts), limits)


def problems_of(script: str | bytes, limits: Limits = DEFAULT_LIMITS) -> list[str]:
    """What is wrong with a script, one line each."""
    try:
        compile_script(script, limits)
    except SieveError as error:
        return [str(problem) for problem in error.problems]
    return []


def told(action: Action) -> str:
    """An action in one line."""
    if isinstance(action, Keep):
        words = ["implicit keep" if action.implicit else "keep", *action.flags]
    elif isinstance(action, FileInto):
        words = ["fileinto", action.mailbox, *action.flags]
        words += ["copy"] * action.copy + ["create"] * action.create
        words += [action.special_use] if action.special_use else []
        words += [action.mailbox_id] if action.mailbox_id else []
    elif isinstance(action, Redirect):
        words = ["redirect", action.address] + ["copy"] * action.copy
    elif isinstance(action, Discard):
        words = ["discard"]
    elif isinstance(action, Reject):
        words = ["ereject" if action.extended else "reject", action.reason.strip()]
    elif isinstance(action, Notify):
        words = ["notify", action.method, str(action.importance), action.message or ""]
    else:
        words = ["vacation", str(action.seconds), action.subject or "-", action.reason.strip()]
    return " ".join(words).strip().replace("\r\n", "\n")
