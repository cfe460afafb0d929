"""`mailbox alias`: add, list, remove."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("alias")
def command() -> None:
    """Addresses that stand for others, here or outside; @example.org catches all that is left."""


@command.command("add")
@click.argument("address")
@click.argument("targets", nargs=-1, required=True)
@click.pass_obj
def add(config_file: str | None, address: str, targets: tuple[str, ...]) -> None:
    """An alias; one that is there leads to these targets from now on."""
    alias = connection.call(config_file, "alias.add", address=address, targets=list(targets))
    click.echo(f"{clean(alias['address'])} leads to {clean(', '.join(alias['targets']))}.")


@command.command("list")
@click.argument("domain", required=False, default="")
@json_option
@click.pass_obj
def list_all(config_file: str | None, domain: str, as_json: bool) -> None:
    """All aliases, or those of one domain."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "alias.list", "aliases", domain=domain)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ALIAS", "LEADS TO", "SINCE"],
        [(each["address"], ", ".join(each["targets"]), time(each["created_at"])) for each in found["aliases"]],
        "There is no alias: mailbox alias add info@example.org alice@example.org",
    )


@command.command("remove")
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@click.pass_obj
def remove(config_file: str | None, address: str, dry_run: bool) -> None:
    """Mail for the alias is refused from now on, unless a catch-all takes it."""
    if dry_run:
        alias = connection.call(config_file, "alias.show", address=address)
        click.echo(f"Would remove {clean(alias['address'])}, which leads to {clean(', '.join(alias['targets']))}.")
        return
    alias = connection.call(config_file, "alias.remove", address=address)
    click.echo(f"Removed {clean(alias['address'])}; it led to {clean(', '.join(alias['targets']))}.")
