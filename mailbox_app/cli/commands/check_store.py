"""`mailbox check-store`, with the server running or stopped."""

from __future__ import annotations

from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean


@click.command("check-store")
@click.argument("address", required=False, default="")
@json_option
@click.pass_obj
def command(config_file: str | None, address: str, as_json: bool) -> int:
    """Compare indexes and files, of one account or all; exit 1 when they differ."""
    try:
        found = connection.call(config_file, "store.check", patient=False, address=address)
    except ControlError as error:
        if error.code != "control.unreachable":
            raise
        found = _offline(config_file, address)
    if as_json:
        print_json(found)
    else:
        for problem in found["problems"]:
            click.echo(clean(f"{problem['address']}: {problem['text']}"))
        count = len(found["problems"])
        click.echo(f"{found['accounts']} account(s) checked, {count or 'no'} difference(s).")
    return 1 if found["problems"] else 0


def _offline(config_file: str | None, address: str) -> dict[str, Any]:
    from mailbox_app.cli.offline import data_folder

    with data_folder(config_file) as data:
        accounts = [data.directory.existing(address)] if address else data.directory.accounts()
        problems = [
            {"address": account.address, "text": text} for account in accounts for text in data.store.check(account.ref)
        ]
    return {"accounts": len(accounts), "problems": problems}
