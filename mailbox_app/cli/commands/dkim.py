"""`mailbox dkim`: generate, list, dns, check, rotate, retire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands.domain import print_records, split_text
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.errors import AccountError
from mailbox_app.proto.plain_text import clean


@click.group("dkim")
def command() -> None:
    """Signing keys."""


@command.command("generate")
@click.argument("domain")
@click.option("--selector", default="", help="The key's name; by default the month and the algorithm, like r202611.")
@click.option(
    "--algorithm",
    type=click.Choice(["rsa", "ed25519", "both"]),
    help="By default both, so that mail bears two signatures; with --selector rsa.",
)
@json_option
@click.pass_obj
def generate(config_file: str | None, domain: str, selector: str, algorithm: str | None, as_json: bool) -> None:
    """New keys; mail is signed with them from now on, so publish their records at once."""
    algorithm = algorithm or ("rsa" if selector else "both")
    if algorithm == "both" and selector:
        raise click.UsageError("two keys cannot have one selector; leave --selector out")
    algorithms = ["rsa", "ed25519"] if algorithm == "both" else [algorithm]
    with connection.connect(config_file) as client:
        if algorithm == "both":
            used = {key["algorithm"] for key in client.call("dkim.list", {"domain": domain})["keys"] if key["active"]}
            algorithms = [each for each in algorithms if each not in used]
        if not algorithms:
            raise AccountError(
                "account.has_keys",
                f"mail of {clean(domain)} is signed with an RSA and an Ed25519 key already",
                fields={"remedy": f"mailbox dkim rotate {clean(domain)} prepares the keys that follow them."},
            )
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
@click.argument("domain", required=False)
@json_option
@click.pass_obj
def list_all(config_file: str | None, domain: str | None, as_json: bool) -> None:
    """The keys of a domain, or of all, retired ones too."""
    with connection.connect(config_file) as client:
        names = [domain] if domain else [each["name"] for each in client.call("domain.list", {})["domains"]]
        keys = [key for name in names for key in client.call("dkim.list", {"domain": name})["keys"]]
    if as_json:
        print_json({"keys": keys})
        return
    print_table(
        ["DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "SINCE", "NEXT"],
        [
            (each["domain"], each["selector"], each["algorithm"], each["state"], time(each["created_at"]), each["next"])
            for each in keys
        ],
        f"{clean(domain or 'No domain')} {'has no' if domain else 'has a'} key: mailbox dkim generate {clean(domain or 'DOMAIN')}",
    )


@command.command("dns")
@click.argument("domain")
@click.option("--zone", is_flag=True, help="As lines of a zone file.")
@click.option(
    "--split", is_flag=True, help="Values cut into strings of 255 bytes, for panels that take no longer ones."
)
@json_option
@click.pass_obj
def dns(config_file: str | None, domain: str, zone: bool, split: bool, as_json: bool) -> None:
    """The records that publish a domain's keys: as one string each, in pieces (--split) or as a zone file (--zone)."""
    if zone and split:
        raise click.UsageError("a zone file is split already")
    found = connection.call(config_file, "dkim.dns", domain=domain)
    if split and not as_json:
        found = {"records": [{**each, "value": split_text(each["value"])} for each in found["records"]]}
    print_records(found, zone=zone, as_json=as_json)


@command.command("check")
@click.argument("domain")
@json_option
@click.pass_obj
def check(config_file: str | None, domain: str, as_json: bool) -> int:
    """Ask every name server of the domain for the records; exit 1 when one is not as it should be."""
    found = connection.call(config_file, "dkim.check", domain=domain)
    if as_json:
        print_json(found)
        return 0 if found["ok"] else 1
    if not found["keys"]:
        click.echo(f"{clean(domain)} has no key: mailbox dkim generate {clean(domain)}")
    for each in found["keys"]:
        click.echo(clean(f"{each['selector']} ({each['algorithm']}, {each['state']}): {each['sentence']}."))
        for server, has in each["servers"]:
            said = "does not answer" if has is None else ("has a record" if has else "has none")
            click.echo(clean(f"    {server} {said}"))
        if each["seen"] != "yes":
            click.echo(clean(f"    wanted: TXT {each['record_name']} {each['record_value']}"))
    return 0 if found["ok"] else 1


@command.command("rotate")
@click.argument("domain")
@click.option("--algorithm", type=click.Choice(["rsa", "ed25519", "both"]), help="By default those in use.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@json_option
@click.pass_obj
def rotate(config_file: str | None, domain: str, algorithm: str | None, dry_run: bool, as_json: bool) -> int:
    """Make the keys that follow. Publish their records; the switch comes by itself when all name servers have them."""
    algorithms = ["rsa", "ed25519"] if algorithm == "both" else [algorithm] if algorithm else []
    if dry_run:
        return _tell_rotation(connection.call(config_file, "dkim.list", domain=domain)["keys"], domain, algorithms)
    found = connection.call(config_file, "dkim.rotate", domain=domain, algorithms=algorithms)
    if as_json:
        print_json(found)
        return 0
    for key in found["keys"]:
        click.echo(clean(f"Prepared {key['algorithm']} key {key['selector']}. Publish it:"))
        click.echo(clean(f"TXT  {key['record_name']}"))
        click.echo(clean(f"     {key['record_value']}"))
    click.echo(f"Follow it with: mailbox dkim check {clean(domain)}")
    return 0


def _tell_rotation(keys: Sequence[Mapping[str, Any]], domain: str, algorithms: Sequence[str]) -> int:
    used = {key["algorithm"] for key in keys if key["active"]}
    for algorithm in algorithms or sorted(used) or ["rsa", "ed25519"]:
        waiting = [key["selector"] for key in keys if key["state"] == "prepared" and key["algorithm"] == algorithm]
        replaced = [key["selector"] for key in keys if key["active"] and key["algorithm"] == algorithm]
        what = f"keep the prepared {algorithm} key {waiting[0]}" if waiting else f"make a new {algorithm} key"
        then = f", which takes the place of {', '.join(replaced)} later" if replaced else ""
        click.echo(clean(f"Would {what} for {domain}{then}."))
    return 0


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
    click.echo(clean(f"{key['selector']} of {key['domain']}: {key['next']}."))
    return 0


def _tell_retirement(keys: Sequence[Mapping[str, Any]], domain: str, selector: str) -> int:
    if all(key["selector"] != selector for key in keys):
        click.echo(f"Would be refused: {clean(domain)} has no key with selector {clean(selector)}.")
        return 1
    left = [key["selector"] for key in keys if key["active"] and key["selector"] != selector]
    rest = f"mail is then signed with {clean(', '.join(left))}" if left else "mail is then not signed any more"
    click.echo(f"Would retire {clean(selector)} of {clean(domain)} for good; {rest}.")
    return 0
