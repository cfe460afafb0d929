"""`mailbox user app-password`: passwords of single programs."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("app-password")
def command() -> None:
    """Passwords of single programs, good for some protocols and revoked alone."""


@command.command("add")
@click.argument("address")
@click.argument("label")
@click.option(
    "--protocol", "protocols", multiple=True, default=("imap", "smtp"), show_default=True,
    help="What it is good for: imap, smtp, pop3, managesieve, dav; may be given several times.",
)  # fmt: skip
@json_option
@click.pass_obj
def add(config_file: str | None, address: str, label: str, protocols: tuple[str, ...], as_json: bool) -> None:
    """Make one and show it, this once."""
    made = connection.call(config_file, "app_password.add", address=address, label=label, protocols=list(protocols))
    if as_json:
        print_json(made)
        return
    click.echo(made["password"])
    click.echo(f"Good for {', '.join(made['protocols'])}. It is not shown again.", err=True)


@command.command("list")
@click.argument("address")
@json_option
@click.pass_obj
def list_all(config_file: str | None, address: str, as_json: bool) -> None:
    """Those of an account."""
    found = connection.call(config_file, "app_password.list", address=address)
    if as_json:
        print_json(found)
        return
    print_table(
        ["LABEL", "PROTOCOLS", "SINCE"],
        [(each["label"], ", ".join(each["protocols"]), time(each["created_at"])) for each in found["app_passwords"]],
        "This account has no app password.",
    )


@command.command("revoke")
@click.argument("address")
@click.argument("label")
@click.pass_obj
def revoke(config_file: str | None, address: str, label: str) -> None:
    """Take one back; programs that are logged in must log in again."""
    connection.call(config_file, "app_password.revoke", address=address, label=label)
    click.echo(f"Revoked {clean(label)} of {clean(address)}.")
