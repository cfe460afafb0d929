"""`mailbox status`."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import duration, json_option, print_fields, print_json, print_table, size
from mailbox_app.proto.plain_text import clean


@click.command("status")
@json_option
@click.pass_obj
def command(config_file: str | None, as_json: bool) -> None:
    """What runs, and how it is."""
    status = connection.call(config_file, "status", patient=False)
    if as_json:
        print_json(status)
        return
    queue, lists_off = status["queue"], status["dns_lists_off"]
    print_fields([
        ("server", f"{status['hostname']}, {'ready' if status['ready'] else 'starting'}"),
        ("version", status["version"]),
        ("up", duration(status["uptime_seconds"])),
        ("memory", size(status["memory_bytes"])),
        ("domains", status["domains"]),
        ("accounts", status["accounts"]),
        ("search", f"{status['search_waiting']} messages not indexed yet" if status["search_waiting"] else "up to date"),
        ("queue", f"{queue['recipients']} waiting ({queue['late']} late, {queue['held']} held)"),
        ("greylist", f"{status['greylisted']} asked to come back"),
        ("bans", status["bans"]),
        ("DNS lists", f"switched off: {', '.join(lists_off)}" if lists_off else "none is switched off"),
        *_redis(status["redis_up"]),
    ])  # fmt: skip
    if status["problems"]:
        click.echo()
    for each in status["problems"]:
        end = "" if ": mailbox " in each["text"] else "."  # a command is copied without one
        click.echo(f"{each['weight']:4}  {clean(each['text'])}{end}")
    click.echo()
    print_table(
        ["SERVICE", "ADDRESS", "PORT"],
        [(each["service"], each["address"], each["port"]) for each in status["listeners"]],
        "No port is open.",
    )
    click.echo()
    print_table(
        ["PROCESS", "PID", "RESTARTS"],
        [(each["role"], each["pid"], each["restarts"]) for each in status["processes"]],
        "One process.",
    )


def _redis(is_up: bool | None) -> list[tuple[str, str]]:
    if is_up is None:
        return []
    return [
        (
            "Redis",
            "answers" if is_up else "CANNOT BE REACHED: no mail is queued or leaves, and the counts above are unknown",
        )
    ]
