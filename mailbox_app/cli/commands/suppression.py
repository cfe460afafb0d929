"""`mailbox suppression`: list, add, remove."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("suppression")
def command() -> None:
    """Outside addresses that failed for good: nothing is sent there."""


@command.command("list")
@json_option
@click.pass_obj
def list_all(config_file: str | None, as_json: bool) -> None:
    """Those that hold now, latest first."""
    found = connection.call(config_file, "suppression.list")
    if as_json:
        print_json(found)
        return
    print_table(
        ["ADDRESS", "DAYS", "LAST", "ANSWER"],
        [
            (each["address"], str(each["days"] or "always"), time(each["last_at"]), each["text"])
            for each in found["suppressions"]
        ],
        "Nothing is suppressed.",
    )


@command.command("add")
@click.argument("address")
@click.option("--reason", default="", help="What our users are told.")
@click.pass_obj
def add(config_file: str | None, address: str, reason: str) -> None:
    """Send nothing to this address any more."""
    found = connection.call(config_file, "suppression.add", address=address, reason=reason)
    click.echo(f"Nothing is sent to {clean(found['address'])} any more.")


@command.command("remove")
@click.argument("address")
@click.pass_obj
def remove(config_file: str | None, address: str) -> None:
    """Send there again."""
    found = connection.call(config_file, "suppression.remove", address=address)
    click.echo(f"Mail to {clean(found['address'])} is sent again.")
