"""`mailbox audit`: list, show, export, verify."""

from __future__ import annotations

import json

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import Duration, json_option, print_fields, print_json, print_table, time


@click.group("audit")
def command() -> None:
    """Who changed what."""


@command.command("list")
@click.option("--who", default="", help="By this user.")
@click.option("--what", default="", help="A method, like user.add, or a subject, like user.")
@click.option("--since", type=Duration(), default=None, help="Of the last so long, like 2d.")
@click.option("--text", default="", help="Containing this.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@json_option
@click.pass_obj
def list_all(
    config_file: str | None, who: str, what: str, since: float | None, text: str, limit: int, offset: int, as_json: bool
) -> None:
    """Changes, newest first."""
    found = connection.call(
        config_file, "audit.list", who=who, what=what, since_seconds=since, text=text, limit=limit, offset=offset
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["NO", "AT", "WHO", "VIA", "WHAT", "OBJECT", "RESULT"],
        [
            (
                each["no"],
                time(each["at"]),
                each["who"],
                each["via"],
                each["what"],
                each["object"][:60],
                each["result"][:60],
            )
            for each in found["entries"]
        ],
        "Nothing was changed yet." if not (who or what or since or text) else "No entry matches.",
    )


@command.command("show")
@click.argument("number", type=int)
@json_option
@click.pass_obj
def show(config_file: str | None, number: int, as_json: bool) -> None:
    """One change."""
    entry = connection.call(config_file, "audit.show", no=number)
    if as_json:
        print_json(entry)
        return
    print_fields([
        ("number", entry["no"]),
        ("at", time(entry["at"])),
        ("who", f"{entry['who']} (uid {entry['uid']})"),
        ("via", entry["via"]),
        ("what", entry["what"]),
        ("object", entry["object"]),
        ("detail", entry["detail"]),
        ("before", entry["before"]),
        ("after", entry["after"]),
        ("result", entry["result"]),
    ])  # fmt: skip


@command.command("export")
@click.option("--since", type=Duration(), default=None, help="Of the last so long, like 90d.")
@click.pass_obj
def export(config_file: str | None, since: float | None) -> None:
    """All changes as JSON lines, oldest first, on standard output."""
    with connection.connect(config_file) as client:
        found = client.call("audit.list", {"since_seconds": since, "limit": 1})
        last = found["entries"][0]["no"] if found["entries"] else 0
        for number in range(last - found["total"] + 1, last + 1):  # one by one: some are long, and none may be left out
            click.echo(json.dumps(client.call("audit.show", {"no": number}), ensure_ascii=False))


@command.command("verify")
@json_option
@click.pass_obj
def verify(config_file: str | None, as_json: bool) -> int:
    """Check that no entry was changed, removed or cut off; exit 1 when one was."""
    found = connection.call(config_file, "audit.verify")
    if as_json:
        print_json(found)
    elif found["ok"]:
        click.echo(f"All {found['count']} entries are as they were written.")
    else:
        click.echo(f"The chain is broken at entry {found['broken_at']} of {found['count']}.")
    return 0 if found["ok"] else 1
