"""`mailbox policy`: how mail from outside is judged."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table


@click.command("policy")
@json_option
@click.pass_obj
def command(config_file: str | None, as_json: bool) -> None:
    """The checks with their modes, the scores, and the DNS lists. Modes: `mailbox config set policy.checks.NAME off`."""
    found = connection.call(config_file, "policy.show")
    if as_json:
        print_json(found)
        return
    refuses = f"refused from {found['reject_score']:g}" if found["reject_score"] else "never refused by score alone"
    click.echo(f"Junk from score {found['junk_score']:g}, {refuses}.\n")
    print_table(
        ["CHECK", "LOOKS AT", "MODE", "WHAT"],
        [(each["name"], each["stage"], each["mode"], each["doc"]) for each in found["checks"]],
        "",
    )
    if found["lists"]:
        click.echo("")
        print_table(
            ["DNS LIST", "USE", "STATE", "ANSWERS"],
            [
                (each["zone"], each["use"], "OFF: answers wrong" if each["off"] else "on", ", ".join(each["meanings"]))
                for each in found["lists"]
            ],
            "",
        )
