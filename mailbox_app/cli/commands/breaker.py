"""`mailbox breaker`: list, show, probe, reset."""

from __future__ import annotations

from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("breaker")
def command() -> None:
    """Other servers whose connections fail: mail for them waits without a try until one message at a time gets through again."""


@command.command("list")
@json_option
@click.pass_obj
def list_all(config_file: str | None, as_json: bool) -> None:
    """Hosts that are passed over, and those that failed lately."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "breaker.list", "breakers")
    if as_json:
        print_json(found)
        return
    print_table(
        ["HOST", "STATE", "FAILURES", "SINCE", "NEXT PROBE", "REASON"],
        [
            (
                each["host"],
                each["state"],
                str(each["failures"]),
                time(each["since"]) if each["since"] else "-",
                _probe(each),
                each["reason"],
            )
            for each in found["breakers"]
        ],
        "All hosts are in order.",
    )


@command.command("show")
@click.argument("host")
@json_option
@click.pass_obj
def show(config_file: str | None, host: str, as_json: bool) -> None:
    """One host, by its name or as name:port."""
    found = connection.call(config_file, "breaker.show", host=host)
    if as_json:
        print_json(found)
        return
    click.echo(f"{clean(found['why'])}.")
    click.echo(f"State: {found['state']}; next probe: {_probe(found)}")
    if found["waiting"]:
        click.echo("Passed over for it: mail to " + ", ".join(clean(each) for each in found["waiting"][:20]))


@command.command("probe")
@click.argument("host")
@click.pass_obj
def probe(config_file: str | None, host: str) -> None:
    """Let one message try it now, whatever the time of the next probe."""
    done = connection.call(config_file, "breaker.probe", host=host)
    click.echo(clean(done["effect"]))


@command.command("reset")
@click.argument("host")
@click.pass_obj
def reset(config_file: str | None, host: str) -> None:
    """Forget its failures: all mail for it is tried as usual."""
    done = connection.call(config_file, "breaker.reset", host=host)
    click.echo(clean(done["effect"]))


def _probe(view: dict[str, Any]) -> str:
    if view["is_probing"]:
        return "now"
    if view["next_probe"]:
        return time(view["next_probe"])
    return "with the next message" if view["state"] == "half-open" else "-"
