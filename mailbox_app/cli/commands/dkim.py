"""`mailbox dkim`: generate, list, dns, retire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands.domain import print_records
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("dkim")
def command() -> None:
    """Signing keys."""


@command.command("generate")
@click.argument("domain")
@click.option("--selector", default="", help="The key's name; by default the month and the algorithm, like r202611.")
@click.option("--algorithm", type=click.Choice(["rsa", "ed25519", "both"]), default="rsa", show_default=True)
@json_option
@click.pass_obj
def generate(config_file: str | None, domain: str, selector: str, algorithm: str, as_json: bool) -> None:
    """A new key; mail is signed with it from now on, so publish its record at once."""
    if algorithm == "both" and selector:
        raise click.UsageError("two keys cannot have one selector; leave --selector out")
    algorithms = ["rsa", "ed25519"] if algorithm == "both" else [algorithm]
    with connection.connect(config_file) as client:
        keys = [
            client.call("dkim.generate", {"domain": domain, "selector": selector, "algorithm": each})
            for each in algorithms
        ]
    if as_json:
        print_json(keys[0] if len(keys) == 1 else {"keys": keys})
        return
    for key in keys:
        click.echo(f"Made {key['algorithm']} key {clean(key['selector'])}. Publish it:")
        click.echo(clean(f"TXT  {key['record_name']}"))
        click.echo(clean(f"     {key['record_value']}"))


@command.command("list")
@click.argument("domain")
@json_option
@click.pass_obj
def list_all(config_file: str | None, domain: str, as_json: bool) -> None:
    """The keys of a domain, retired ones too."""
    found = connection.call(config_file, "dkim.list", domain=domain)
    if as_json:
        print_json(found)
        return
    print_table(
        ["SELECTOR", "ALGORITHM", "STATE", "SINCE"],
        [
            (each["selector"], each["algorithm"], "active" if each["active"] else "retired", time(each["created_at"]))
            for each in found["keys"]
        ],
        f"{clean(domain)} has no key: mailbox dkim generate {clean(domain)}",
    )


@command.command("dns")
@click.argument("domain")
@click.option("--zone", is_flag=True, help="As lines of a zone file.")
@json_option
@click.pass_obj
def dns(config_file: str | None, domain: str, zone: bool, as_json: bool) -> None:
    """The records that publish a domain's keys."""
    print_records(connection.call(config_file, "dkim.dns", domain=domain), zone=zone, as_json=as_json)


@command.command("retire")
@click.argument("domain")
@click.argument("selector")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@click.pass_obj
def retire(config_file: str | None, domain: str, selector: str, dry_run: bool) -> int:
    """Sign with a key no more. Keep its record published for a week: mail under way is still checked against it."""
    if dry_run:
        return _tell_retirement(connection.call(config_file, "dkim.list", domain=domain)["keys"], domain, selector)
    key = connection.call(config_file, "dkim.retire", domain=domain, selector=selector)
    click.echo(f"{clean(key['selector'])} of {clean(key['domain'])} signs no more; keep its record for a week.")
    return 0


def _tell_retirement(keys: Sequence[Mapping[str, Any]], domain: str, selector: str) -> int:
    if all(key["selector"] != selector for key in keys):
        click.echo(f"Would be refused: {clean(domain)} has no key with selector {clean(selector)}.")
        return 1
    left = [key["selector"] for key in keys if key["active"] and key["selector"] != selector]
    rest = f"mail is then signed with {clean(', '.join(left))}" if left else "mail is then not signed any more"
    click.echo(f"Would retire {clean(selector)} of {clean(domain)} for good; {rest}.")
    return 0
