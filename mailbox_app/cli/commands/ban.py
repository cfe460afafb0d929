"""`mailbox ban`: list, add, remove."""

from __future__ import annotations

import re

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.group("ban")
def command() -> None:
    """Who may not connect, by any protocol. The allow list and trusted networks always win; this command always works."""


@command.command("list")
@json_option
@click.pass_obj
def list_all(config_file: str | None, as_json: bool) -> None:
    """The bans in force, newest first."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "ban.list", "bans")
    if as_json:
        print_json(found)
        return
    print_table(
        ["NETWORK", "BY", "SINCE", "UNTIL", "WHY"],
        [
            (
                each["network"],
                each["source"],
                time(each["made_at"]),
                time(each["expires_at"]) if each["expires_at"] else "it is removed",
                each["reason"] + (" (without effect: on the allow list)" if each["without_effect"] else ""),
            )
            for each in found["bans"]
        ],
        "Nobody is banned.",
    )


@command.command("add")
@click.argument("network")
@click.option(
    "--for", "duration", default="", metavar="DURATION", help="Such as 30m, 12h or 7d; else until it is removed."
)
@click.option("--reason", default="", help="For whoever reads the list later.")
@click.pass_obj
def add(config_file: str | None, network: str, duration: str, reason: str) -> None:
    """Keep an address or a network out. Sessions that are open go on."""
    ban = connection.call(config_file, "ban.add", network=network, reason=reason, seconds=_seconds(duration))
    until = f"until {time(ban['expires_at'])}" if ban["expires_at"] else "until it is removed"
    click.echo(f"{clean(ban['network'])} is banned {until}.")
    if ban["without_effect"]:
        click.echo("It is trusted or on the allow list, which always wins: the ban is without effect.")


@command.command("remove")
@click.argument("network")
@click.pass_obj
def remove(config_file: str | None, network: str) -> None:
    """Let an address or a network in again."""
    ban = connection.call(config_file, "ban.remove", network=network)
    click.echo(f"{clean(ban['network'])} may come in again; it was banned because: {clean(ban['reason'])}")


def _seconds(duration: str) -> int:
    if not duration:
        return 0
    match = re.fullmatch(r"(\d{1,6})([smhdw])", duration)
    if match is None:
        raise click.BadParameter("want a whole number and s, m, h, d or w, like 12h", param_hint="--for")
    return int(match[1]) * _UNITS[match[2]]
