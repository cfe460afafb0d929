"""A filter script tried out on a message without a server: every mailbox is taken to be there, nothing is remembered."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from mailbox_app.proto.sieve.actions import (
    Action,
    Discard,
    FileInto,
    Keep,
    Notify,
    Redirect,
    Reject,
    Vacation,
)
from mailbox_app.proto.sieve.context import Context, Nothing
from mailbox_app.proto.sieve.message import Message
from mailbox_app.proto.sieve.script import compile_script, run


class _EveryMailbox(Nothing):
    def exists(self, name: str) -> bool:
        """Taken to be there."""
        return True

    def special_uses(self, name: str) -> Collection[str]:
        """None."""
        return ()


def tried(source: str, content: bytes, sender: str, recipient: str) -> dict[str, list[str]]:
    """Steps, actions and notes, as the method `sieve.test` gives them; `SieveError`."""
    script = compile_script(source.encode("utf-8", "surrogatepass"))
    context = Context(
        Message.of_bytes(content),
        datetime.now(UTC).astimezone(),
        sender=sender,
        recipient=recipient,
        mailboxes=_EveryMailbox(),
    )
    outcome = run(script, context)
    actions = [_sentence(action) for action in outcome.actions] or ["discard"]
    return {"steps": list(outcome.steps), "actions": actions, "notes": [outcome.error] if outcome.error else []}


def _sentence(action: Action) -> str:
    match action:
        case Keep():
            where = "keep" if not action.implicit else "keep (no rule says otherwise)"
            return where + _with(action.flags) + _edited(action)
        case FileInto():
            made = ", made when it is missing" if action.create else ""
            return f"store in {action.mailbox}{made}{_with(action.flags)}{_edited(action)}"
        case Redirect():
            return f"pass on to {action.address}{_edited(action)}"
        case Discard():
            return "discard"
        case Reject():
            return f"refuse: {' '.join(action.reason.split())}"
        case Vacation():
            return f"answer the sender, not twice in {action.seconds} seconds"
        case Notify():
            return f"notify {action.method}"


def _with(flags: tuple[str, ...]) -> str:
    return f" with {' '.join(flags)}" if flags else ""


def _edited(action: Keep | FileInto | Redirect) -> str:
    if action.content is not None:
        return " with changed content"
    return " with a changed header" if action.edits else ""
