"""The messages' side of `mailbox user restore`: list what was expunged and can come back, and bring it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import Duration, json_option, print_json, print_table, size, time
from mailbox_app.proto.plain_text import clean

_OPTIONS = (
    click.option(
        "--messages", is_flag=True, help="Expunged messages, not the account; lists them without --id or --all."
    ),
    click.option("--mailbox", default="", help="Those of this mailbox."),
    click.option("--since", type=Duration(), default=None, help="Expunged within the last time, like 2d."),
    click.option("--search", default="", help="A text in subject or sender."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="Bring this one back; may be repeated."),
    click.option("--all", "everything", is_flag=True, help="Bring all back that were asked for."),
    click.option("--dry-run", is_flag=True, help="Tell what would happen."),
    json_option,
)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def is_asked_for(wanted: Mapping[str, Any]) -> bool:
    """Whether messages are meant: any option that chooses some says so."""
    return any(wanted[name] for name in ("messages", "mailbox", "since", "search", "ids", "everything"))


def restore(config_file: str | None, address: str, wanted: Mapping[str, Any]) -> None:
    """List, or bring back."""
    since = None
    if wanted["since"] is not None:
        since = (datetime.now(UTC) - timedelta(seconds=wanted["since"])).isoformat().replace("+00:00", "Z")
    chosen = {"address": address, "mailbox": wanted["mailbox"], "since": since, "text": wanted["search"]}
    if wanted["ids"] and (wanted["everything"] or wanted["mailbox"] or wanted["search"] or since):
        raise click.UsageError("--id names messages; it does not go with --all, --mailbox, --since or --search")
    if not (wanted["ids"] or wanted["everything"]):
        _list(config_file, chosen, as_json=wanted["as_json"], hint=True)
    elif wanted["dry_run"]:
        _list(config_file, chosen, as_json=wanted["as_json"], hint=False, ids=wanted["ids"])
    else:
        ids = list(wanted["ids"]) or None
        done = connection.call(config_file, "retained.restore", **chosen, ids=ids)
        if wanted["as_json"]:
            print_json(done)
            return
        click.echo(f"Restored {_messages(done['restored'])} of {clean(address)}.")
        if done["left_out"]:
            click.echo(f"{done['left_out']} are not kept any more.")


def _list(
    config_file: str | None, chosen: Mapping[str, Any], *, as_json: bool, hint: bool, ids: tuple[str, ...] = ()
) -> None:
    with connection.connect(config_file) as client:
        found = client.call("retained.list", {**chosen, "limit": 500})
        while found["next"]:
            page = client.call("retained.list", {**chosen, "limit": 500, "before": found["next"]})
            page["messages"] = found["messages"] + page["messages"]
            found = page
    if ids:
        found["messages"] = [each for each in found["messages"] if each["id"] in ids]
    if as_json:
        print_json(found)
        return
    if not hint:
        click.echo(f"Would restore {_messages(len(found['messages']))}:")
    print_table(
        ["ID", "EXPUNGED", "MAILBOX", "SIZE", "FROM", "SUBJECT"],
        [
            (each["id"], time(each["expunged_at"]), each["mailbox"], size(each["size_bytes"]), each["from"][:30],
             each["subject"][:60])
            for each in found["messages"]
        ],
        "No expunged message is kept.",
    )  # fmt: skip
    if hint and found["messages"]:
        click.echo(
            f"\nBring some back with --id ID, or these with --all: mailbox user restore {clean(chosen['address'])}"
        )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
