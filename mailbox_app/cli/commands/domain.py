"""`mailbox domain`: add, list, show, remove, dns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_fields, print_json, print_table, time
from mailbox_app.proto.plain_text import clean

_TXT_BYTES = 255  # RFC 1035 3.3: one character-string


@click.group("domain")
def command() -> None:
    """Domains whose mail ends here."""


@command.command("add")
@click.argument("name")
@click.option(
    "--alias-of", default="", metavar="DOMAIN", help="It stands for this domain and has no addresses of its own."
)
@click.pass_obj
def add(config_file: str | None, name: str, alias_of: str) -> None:
    """Take mail for a domain."""
    domain = connection.call(config_file, "domain.add", name=name, alias_of=alias_of)
    click.echo(f"Added {clean(domain['name'])}. Its DNS records: mailbox domain dns {clean(domain['name'])}")


@command.command("separators")
@click.argument("name")
@click.argument("separators", required=False)
@click.option("--default", "is_default", is_flag=True, help="As the configuration says.")
@click.pass_obj
def separators(config_file: str | None, name: str, separators: str | None, is_default: bool) -> None:
    """What stands between a name and its detail in a domain: "+-" for both; "" for nothing."""
    if (separators is None) != is_default:
        raise click.UsageError('Name the separators, "" for none, or --default.')
    domain = connection.call(config_file, "domain.separators", name=name, separators=separators)
    click.echo(f"{clean(domain['name'])}: {_separators(domain)}.")


@command.command("list")
@json_option
@click.pass_obj
def list_all(config_file: str | None, as_json: bool) -> None:
    """All domains."""
    found = connection.call(config_file, "domain.list")
    if as_json:
        print_json(found)
        return
    print_table(
        ["DOMAIN", "ACCOUNTS", "ALIASES", "DKIM", "SINCE"],
        [
            (
                each["name"],
                each["accounts"],
                each["aliases"],
                " ".join(each["dkim_selectors"]),
                time(each["created_at"]),
            )
            for each in found["domains"]
        ],
        "There is no domain yet: mailbox domain add example.org",
    )


@command.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def show(config_file: str | None, name: str, as_json: bool) -> None:
    """One domain."""
    _print(connection.call(config_file, "domain.show", name=name), as_json)


@command.command("remove")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@click.pass_obj
def remove(config_file: str | None, name: str, dry_run: bool) -> None:
    """Take no more mail for a domain; it must have no accounts and no aliases. Its signing keys are destroyed."""
    if dry_run:
        domain = connection.call(config_file, "domain.show", name=name)
        users, aliases, keys = domain["accounts"], domain["aliases"], len(domain["dkim_selectors"])
        if users or aliases:
            click.echo(f"Would be refused: it has {users} account(s) and {aliases} alias(es).")
        else:
            click.echo(f"Would remove {clean(domain['name'])} and destroy {keys} signing key(s).")
        return
    domain = connection.call(config_file, "domain.remove", name=name)
    click.echo(f"Removed {clean(domain['name'])}.")


@command.command("dns")
@click.argument("name")
@click.option("--zone", is_flag=True, help="As lines of a zone file.")
@click.option("--check", is_flag=True, help="Compare with what DNS says; exit 1 when something is not as it should be.")
@json_option
@click.pass_obj
def dns(config_file: str | None, name: str, zone: bool, check: bool, as_json: bool) -> int:
    """Every record the domain needs in the DNS."""
    if zone and check:
        raise click.UsageError("--zone prints and --check compares: choose one")
    if check:
        return _print_checked(connection.call(config_file, "domain.check_dns", name=name), as_json)
    found = connection.call(config_file, "domain.dns", name=name)
    print_records(found, zone=zone, as_json=as_json)
    return 0


def print_records(found: Mapping[str, Any], *, zone: bool, as_json: bool) -> None:
    """Records as a list for people, as a zone file or as JSON."""
    if as_json:
        print_json(found)
    elif zone:
        for each in found["records"]:
            click.echo(clean(f"{each['name']} 3600 IN {each['type']} {_zone_value(each)}"))
    else:
        for each in found["records"]:
            click.echo(clean(f"{each['type']:4} {each['name']}"))
            click.echo(clean(f"     {each['value']}"))
            click.echo(clean(f"     ({each['purpose']})"))


def _print_checked(found: Mapping[str, Any], as_json: bool) -> int:
    if as_json:
        print_json(found)
        return 0 if found["ok"] else 1
    for each in found["records"]:
        click.echo(clean(f"{each['state']:8} {each['type']:4} {each['name']}"))
        if each["state"] != "ok":
            click.echo(clean(f"         wanted {each['value']}"))
            for text in each["found"]:
                click.echo(clean(f"         found  {text}"))
    wrong = sum(each["state"] != "ok" for each in found["records"])
    unknown = sum(each["state"] == "unknown" for each in found["records"])
    if wrong > unknown:
        click.echo(f"{wrong - unknown} of {len(found['records'])} are not as they should be.")
    if unknown:
        click.echo(f"{unknown} could not be looked up: DNS does not answer; try again.")
    if not wrong:
        click.echo("All are as they should be.")
    return 1 if wrong else 0


def _zone_value(record: Mapping[str, str]) -> str:
    value = record["value"]
    if record["type"] != "TXT":
        return value
    return split_text(value)


def split_text(value: str) -> str:
    """A TXT value as quoted strings of at most 255 bytes each."""
    value = value.replace("\\", "\\\\").replace('"', '\\"')
    return " ".join(f'"{value[start : start + _TXT_BYTES]}"' for start in range(0, len(value), _TXT_BYTES))


def _print(domain: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(domain)
        return
    print_fields([
        ("domain", domain["name"]),
        ("accounts", domain["accounts"]),
        ("aliases", domain["aliases"]),
        ("dkim", " ".join(domain["dkim_selectors"])),
        ("addresses", _separators(domain)),
        *([("stands for", domain["alias_of"])] if domain["alias_of"] else []),
        *([("written", domain["unicode_name"])] if domain["unicode_name"] != domain["name"] else []),
        ("since", time(domain["created_at"])),
    ])  # fmt: skip


def _separators(domain: Mapping[str, Any]) -> str:
    if domain["separators"] is None:
        return "details as the configuration says"
    return f"details behind any of {domain['separators']}" if domain["separators"] else "no details"
