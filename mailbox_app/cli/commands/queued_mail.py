"""`mailbox queue`: look at waiting mail and change its fate, by id or by filter."""

from __future__ import annotations

from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands import queue_acts, queue_content, queue_rules
from mailbox_app.cli.commands.queue_filters import answer, filtered, wire_filter
from mailbox_app.cli.output import json_option, print_fields, print_json, print_lines, print_table, size, time
from mailbox_app.proto.plain_text import clean


@click.group("queue")
def command() -> None:
    """Waiting mail."""


@command.command("list")
@click.argument("ids", nargs=-1)
@filtered
@click.option("--sort", type=click.Choice(["next", "age", "size", "from", "to", "attempts"]), default="next")
@click.option("--reverse", is_flag=True)
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@click.option("--why", is_flag=True, help="With a sentence on each: why it waits and when it goes.")
@json_option
@click.pass_obj
def list_all(
    config_file: str | None,
    /,
    ids: tuple[str, ...],
    sort: str,
    reverse: bool,
    limit: int,
    offset: int,
    why: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Waiting recipients."""
    found = connection.call(
        config_file, "queue.list", filter=wire_filter(ids, **filters), sort=sort, reverse=reverse, offset=offset,
        limit=limit, why=why,
    )  # fmt: skip
    if as_json:
        print_json(found)
        return
    click.echo(clean(found["summary"]))
    if found["rows"] and why:
        for row in found["rows"]:
            click.echo()
            click.echo(clean(f"{row['id']}  {row['from'] or '<>'} to {row['to']}"))
            click.echo(clean(f"  {row['why']}"))
    elif found["rows"]:
        click.echo()
        print_table(
            ["ID", "STATE", "NEXT", "TRIES", "SIZE", "FROM", "TO", "LAST ANSWER"],
            [
                (row["id"], row["state"], time(row["next_at"]), row["attempts"], size(row["size_bytes"]),
                 row["from"] or "<>", row["to"], _last(row)[:60])
                for row in found["rows"]
            ],
            "",
        )  # fmt: skip
    left = found["total"] - found["offset"] - len(found["rows"])
    if left > 0:
        click.echo(f"{left} more: --offset {found['offset'] + len(found['rows'])}")


@command.command("show")
@click.argument("queue_id")
@json_option
@click.pass_obj
def show(config_file: str | None, queue_id: str, as_json: bool) -> None:
    """One message: recipients, attempts, header."""
    message = connection.call(config_file, "queue.show", id=queue_id)
    if as_json:
        print_json(message)
        return
    print_fields([
        ("why", message["why"]),
        *(("advice", f"{each['sentence']} {each['link']}".rstrip()) for each in message["advice"]),
        ("id", message["id"]),
        ("from", message["from"] or "<>"),
        ("submitted by", message["submitter"]),
        ("size", size(message["size_bytes"])),
        ("arrived", time(message["arrived_at"])),
        ("given up", time(message["expires_at"])),
        ("message-id", message["message_id"]),
        ("priority", message["priority"]),
    ])  # fmt: skip
    click.echo()
    _print_recipients(message)
    click.echo()
    print_table(
        ["AT", "TO", "FATE", "HOST", "TLS", "ANSWER"],
        [
            (time(each["at"]), each["to"], each["fate"], each["host"], each["tls"], answer(each["code"], each["text"]))
            for each in message["attempts"]
        ],
        "Not tried yet.",
    )
    if message["header"]:
        click.echo()
        print_lines(message["header"])


def _print_recipients(message: dict[str, Any]) -> None:
    if message["recipients"]:
        _print_waiting(message["recipients"])
    if message["finished"]:
        if message["recipients"]:
            click.echo()
        print_table(
            ["LEFT AT", "TO", "FATE", "TRIES", "HOST", "TLS", "ANSWER"],
            [_finished(each) for each in message["finished"]],
            "",
        )


def _finished(row: dict[str, Any]) -> tuple[object, ...]:
    text = answer(row["code"], row["text"])
    return time(row["finished_at"]), row["to"], row["fate"], row["attempts"], row["host"], row["tls"], text


def _last(row: dict[str, Any]) -> str:
    """What the last column says: the reason of what is not tried, else the last answer."""
    if row["state"] in {"held", "quarantined"} or (row["reason"] and row["state"] == "deferred"):
        return str(row["reason"] or answer(row["code"], row["last"]))
    return answer(row["code"], row["last"])


def _print_waiting(rows: list[dict[str, Any]]) -> None:
    print_table(
        ["TO", "STATE", "NEXT", "TRIES", "ROUTE", "WHY"],
        [(row["to"], row["state"], time(row["next_at"]), row["attempts"], row["route"], row["why"]) for row in rows],
        "",
    )


@command.command("stats")
@json_option
@click.pass_obj
def stats(config_file: str | None, as_json: bool) -> None:
    """Counts."""
    found = connection.call(config_file, "queue.stats")
    if as_json:
        print_json(found)
        return
    print_fields([
        ("recipients", found["recipients"]),
        ("messages", found["messages"]),
        ("deferred", found["deferred"]),
        ("active", found["active"]),
        ("held", found["held"]),
        ("quarantined", found["quarantined"]),
        ("late", found["late"]),
        ("oldest", time(found["oldest_at"])),
    ])  # fmt: skip
    if found["by_destination"]:
        click.echo()
        print_table(["DESTINATION", "RECIPIENTS"], found["by_destination"], "")


@command.command("history")
@click.argument("ids", nargs=-1)
@filtered
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@json_option
@click.pass_obj
def history(
    config_file: str | None, /, ids: tuple[str, ...], limit: int, offset: int, as_json: bool, **filters: Any
) -> None:
    """What has left the queue in the last 30 days, the latest first; --older-than counts from its end."""
    if filters.pop("state"):
        raise click.UsageError("what has left the queue has no state; --text finds an answer")
    found = connection.call(
        config_file, "queue.history", filter=wire_filter(ids, **filters), limit=limit, offset=offset
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["LEFT AT", "ID", "FROM", "TO", "FATE", "TRIES", "HOST", "ANSWER"],
        [
            (time(row["finished_at"]), row["id"], row["from"] or "<>", row["to"], row["fate"], row["attempts"],
             row["host"], answer(row["code"], row["text"])[:60])
            for row in found["rows"]
        ],
        "Nothing that matches has left the queue in the last 30 days.",
    )  # fmt: skip
    if found["more"]:
        click.echo(f"More: --offset {offset + len(found['rows'])}")


for each in (*queue_acts.COMMANDS, *queue_rules.COMMANDS, *queue_content.COMMANDS):
    command.add_command(each)
