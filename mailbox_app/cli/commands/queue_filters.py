"""The options that say which mail is meant, the same for all commands of `mailbox queue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mailbox_app.cli.output import Duration

STATES = ("deferred", "active", "held", "quarantined")
_FILTERS = (
    click.option("--from", "sender", default="", help="Sender address, or @domain; <> for bounces."),
    click.option("--to", "recipient", default="", help="Recipient address, or @domain."),
    click.option("--submitter", default="", help="Sent by this account."),
    click.option("--domain", default="", help="Recipients at this domain."),
    click.option("--older-than", type=Duration(), default=None, help="In the queue for longer, like 2h."),
    click.option("--state", type=click.Choice(STATES), default=None),
    click.option("--text", default="", help="In an address or the last answer."),
)


def filtered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it gets them as keyword arguments for `wire_filter`."""
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def wire_filter(
    ids: tuple[str, ...],
    *,
    sender: str = "",
    recipient: str = "",
    submitter: str = "",
    domain: str = "",
    older_than: float | None = None,
    state: str | None = None,
    text: str = "",
) -> dict[str, object]:
    """As the control protocol wants it."""
    return {
        "ids": list(ids), "from": sender, "to": recipient, "submitter": submitter, "domain": domain,
        "older_than_seconds": older_than, "state": state, "text": text,
    }  # fmt: skip


def answer(code: int, text: str) -> str:
    """An answer with its code once."""
    return text if not code or text.startswith(str(code)) else f"{code} {text}".strip()
