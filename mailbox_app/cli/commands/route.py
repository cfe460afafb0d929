"""`mailbox route`: list, explain, test."""

from __future__ import annotations

import sys

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_fields, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("route")
def command() -> None:
    """The ways on which mail leaves."""


@command.command("list")
@json_option
@click.pass_obj
def list_routes(config_file: str | None, as_json: bool) -> None:
    """All routes: where they lead, which mail takes them, how they did since the server started."""
    found = connection.call(config_file, "route.list")
    if as_json:
        print_json(found)
        return
    print_table(
        ["ROUTE", "HOSTS", "TAKES", "ENCRYPTION", "LOGIN", "USED", "FAILED", "LAST SUCCESS", "LAST FAILURE", "WHY"],
        [
            (
                each["name"],
                ", ".join(each["hosts"]) or "by MX",
                ", ".join([*each["rules"], *(["what no rule names"] if each["usual"] else [])]),
                each["encryption"],
                each["user"],
                each["used"],
                each["failed"],
                time(each["last_success_at"]),
                time(each["last_failure_at"]),
                each["last_failure"],
            )
            for each in found["routes"]
        ],
        "There are no routes.",
    )
    if found["trouble"]:
        click.echo(clean(f"Attention: {found['trouble']}."))


@command.command("explain")
@click.argument("address")
@click.option("--from", "sender", default="", metavar="SENDER", help="As sent by this address.")
@click.option("--route", default="", metavar="NAME", help="As if this route had been chosen by `queue route`.")
@json_option
@click.pass_obj
def explain(config_file: str | None, address: str, sender: str, route: str, as_json: bool) -> None:
    """Which way mail for ADDRESS takes, and why."""
    found = connection.call(config_file, "route.explain", address=address, sender=sender, route=route)
    if as_json:
        print_json(found)
        return
    print_fields([("Route", f"{found['route']} ({found['reason']})"), ("Encryption", found["encryption"])])
    for each in found["families"]:
        origin = f", from {each['source']}" if each["source"] else ""
        click.echo(clean(f"IPv{each['family']} is {'' if each['used'] else 'not '}used{origin}: {each['reason']}."))
    rows = [
        (
            each["name"],
            each["port"],
            ", ".join(f"{one} (no answer lately)" if one in each["unreachable"] else one for one in each["addresses"]),
            "yes" if each["proven"] else "no",
            each["trouble"] or each["encryption"],
        )
        for each in found["hosts"]
    ]
    print_table(["HOST", "PORT", "ADDRESSES", "NAME PROVEN", "MAIL GOES"], rows, "There is no host to try.")
    if found["trouble"]:
        click.echo(clean(f"Attention: {found['trouble']}."))


@command.command("test")
@click.argument("name")
@json_option
@click.pass_obj
def test(config_file: str | None, name: str, as_json: bool) -> None:
    """Connect as mail would, by the route NAME or to the domain NAME: greet, encrypt, log in. Nothing is sent."""
    found = connection.call(config_file, "route.test", name=name)
    if as_json:
        print_json(found)
    else:
        for each in found["steps"]:
            click.echo(clean(f"{'ok    ' if each['ok'] else 'FAILED'}  {each['what'].ljust(10)}  {each['text']}"))
        click.echo(
            f"The route {found['route']} works." if found["ok"] else f"The route {found['route']} does not work now."
        )
    if not found["ok"]:
        sys.exit(1)
