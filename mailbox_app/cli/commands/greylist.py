"""`mailbox greylist`: list, allow."""

from __future__ import annotations

from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("greylist")
def command() -> None:
    """Strangers who were asked to come back, and who is never asked."""


@command.command("list")
@json_option
@click.pass_obj
def list_waiting(config_file: str | None, as_json: bool) -> None:
    """Who waits, why, since when and until when."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "greylist.list", "waiting")
    if as_json:
        print_json(found)
        return
    print_table(
        ["NUMBER", "SENDER", "RECIPIENT", "FROM", "SINCE", "ATTEMPTS", "PASSES FROM", "WHY"],
        [
            (
                each["greylist_id"],
                each["sender"] or "<>",
                each["recipient"],
                each["remote_ip"],
                time(each["first_at"]),
                each["attempts"],
                time(each["passes_at"]),
                each["reason"],
            )
            for each in found["waiting"]
        ],
        "Nobody waits.",
    )


@command.command("allow")
@click.argument("value", required=False)
@click.option("--recipient", is_flag=True, help="VALUE is an address or domain of ours that wants no greylisting.")
@click.option(
    "--for", "only_for", default="", metavar="ADDRESS", help="Only for mail to this address or domain of ours."
)
@click.option("--now", is_flag=True, help="VALUE is a number of the list: let that one in at its next attempt.")
@click.option("--remove", "removes", is_flag=True, help="End the exemption of VALUE.")
@click.option("--note", default="", help="A word for those who come after you.")
@json_option
@click.pass_obj
def allow(
    config_file: str | None,
    value: str | None,
    *,
    recipient: bool,
    only_for: str,
    now: bool,
    removes: bool,
    note: str,
    as_json: bool,
) -> None:
    """Never keep VALUE waiting: an address, a domain with all below it, or a network. Without VALUE: who is exempt."""
    if value is None:
        if recipient or only_for or now or removes or note:
            raise click.UsageError("tell the value too")
        _list_allowed(config_file, as_json=as_json)
        return
    if now:
        if recipient or only_for or removes or note or not value.isdecimal():
            raise click.UsageError("--now takes a number of the list and nothing else")
        answer = connection.call(config_file, "greylist.let_in", greylist_id=int(value))
        text = f"{answer['sender'] or '<>'} is let in to {answer['recipient']} at its next attempt."
    else:
        kind = "recipient" if recipient else ""
        there = f" for {only_for}" if only_for else ""
        if removes:
            answer = connection.call(config_file, "greylist.disallow", kind=kind, value=value, recipient=only_for)
            text = f"The {answer['kind']} {answer['value']} is no longer exempt{there}."
        else:
            answer = connection.call(
                config_file, "greylist.allow", kind=kind, value=value, note=note, recipient=only_for
            )
            text = f"The {answer['kind']} {answer['value']} never waits from now on{there}."
    if as_json:
        print_json(answer)
    else:
        click.echo(clean(text))


def _list_allowed(config_file: str | None, *, as_json: bool) -> None:
    found: dict[str, Any] = connection.call(config_file, "greylist.allowed")
    if as_json:
        print_json(found)
        return
    print_table(
        ["KIND", "VALUE", "FOR", "SINCE", "NOTE"],
        [
            (each["kind"], each["value"], each["recipient"] or "all", time(each["created_at"]), each["note"])
            for each in found["allowed"]
        ],
        "Nobody is exempt: mailbox greylist allow example.org",
    )
