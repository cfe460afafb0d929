"""`mailbox queue`: look at waiting mail and change its fate, by id or by filter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import Duration, json_option, print_fields, print_json, print_lines, print_table, size, time
from mailbox_app.proto.plain_text import clean

_FILTERS = (
    click.option("--from", "sender", default="", help="Sender address, or @domain."),
    click.option("--to", "recipient", default="", help="Recipient address, or @domain."),
    click.option("--domain", default="", help="Recipients at this domain."),
    click.option("--older-than", type=Duration(), default=None, help="In the queue for longer, like 2h."),
    click.option("--state", type=click.Choice(["deferred", "active", "held"]), default=None),
    click.option("--text", default="", help="In an address or the last answer."),
)


@click.group("queue")
def command() -> None:
    """Waiting mail."""


def _filtered(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_FILTERS):
        function = option(function)
    return function


def _filter(
    ids: tuple[str, ...],
    sender: str,
    recipient: str,
    domain: str,
    older_than: float | None,
    state: str | None,
    text: str,
) -> dict[str, object]:
    return {
        "ids": list(ids), "from": sender, "to": recipient, "domain": domain, "older_than_seconds": older_than,
        "state": state, "text": text,
    }  # fmt: skip


@command.command("list")
@_filtered
@click.option("--sort", type=click.Choice(["next", "age", "size", "from", "to", "attempts"]), default="next")
@click.option("--reverse", is_flag=True)
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@json_option
@click.pass_obj
def list_all(
    config_file: str | None, /, sort: str, reverse: bool, limit: int, offset: int, as_json: bool, **filters: Any
) -> None:
    """Waiting recipients."""
    found = connection.call(
        config_file, "queue.list", filter=_filter((), **filters), sort=sort, reverse=reverse, offset=offset, limit=limit
    )
    if as_json:
        print_json(found)
        return
    click.echo(clean(found["summary"]))
    if found["rows"]:
        click.echo()
        print_table(
            ["ID", "STATE", "NEXT", "TRIES", "SIZE", "FROM", "TO", "LAST ANSWER"],
            [
                (row["id"], row["state"], time(row["next_at"]), row["attempts"], size(row["size_bytes"]),
                 row["from"] or "<>", row["to"], f"{row['code'] or ''} {row['last']}".strip()[:60])
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
        ("id", message["id"]),
        ("from", message["from"] or "<>"),
        ("submitted by", message["submitter"]),
        ("size", size(message["size_bytes"])),
        ("arrived", time(message["arrived_at"])),
        ("given up", time(message["expires_at"])),
        ("message-id", message["message_id"]),
        ("why", message["why"]),
    ])  # fmt: skip
    click.echo()
    print_table(
        ["TO", "STATE", "NEXT", "TRIES", "LAST ANSWER"],
        [
            (
                row["to"],
                row["state"],
                time(row["next_at"]),
                row["attempts"],
                f"{row['code'] or ''} {row['last']}".strip(),
            )
            for row in message["recipients"]
        ],
        "No recipient waits.",
    )
    click.echo()
    print_table(
        ["AT", "TO", "FATE", "HOST", "TLS", "ANSWER"],
        [
            (time(each["at"]), each["to"], each["fate"], each["host"], each["tls"], f"{each['code']} {each['text']}")
            for each in message["attempts"]
        ],
        "Not tried yet.",
    )
    click.echo()
    print_lines(message["header"])


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
        ("late", found["late"]),
        ("oldest", time(found["oldest_at"])),
    ])  # fmt: skip
    if found["by_destination"]:
        click.echo()
        print_table(["DESTINATION", "RECIPIENTS"], found["by_destination"], "")


def _act(
    config_file: str | None, action: str, ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool, filters: Any
) -> None:
    where = _filter(ids, **filters)
    if not (everything or any(where.values())):
        raise click.UsageError("say which: queue ids, a filter (--from --to --domain --older-than --state), or --all")
    with connection.connect(config_file) as client:
        planned = client.call("queue.plan", {"action": action, "filter": where})
        if dry_run:
            click.echo(f"Would be: {planned['effect']}.")
            for each in planned["sample"]:
                click.echo(clean(f"  {each['id']}  {each['to']}"))
            if planned["count"] > len(planned["sample"]):
                click.echo(f"  and {planned['count'] - len(planned['sample'])} more")
            _tell_busy(planned["busy"])
            return
        if not planned["count"]:
            if not planned["busy"]:
                click.echo("Nothing in the queue matches.")
            _tell_busy(planned["busy"])
            return
        if not yes and action in {"bounce", "drop"} and sys.stdin.isatty():
            click.confirm(f"{planned['effect']}. Really", abort=True, err=True)
        done = client.call("queue.apply", {"action": action, "filter": where, "plan": planned["plan"]})
    click.echo(f"Done: {done['effect']}.")
    _tell_busy(planned["busy"])


def _tell_busy(count: int) -> None:
    if count:
        click.echo(f"{count} more match and are being delivered right now: wait a little and repeat, or hold them.")


def _action(name: str, text: str) -> None:
    @command.command(name, help=text)
    @click.argument("ids", nargs=-1)
    @_filtered
    @click.option("--all", "everything", is_flag=True, help="Everything that waits.")
    @click.option("--dry-run", is_flag=True, help="Tell what would happen.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.pass_obj
    def run(
        config_file: str | None, /, ids: tuple[str, ...], everything: bool, dry_run: bool, yes: bool, **filters: Any
    ) -> None:
        _act(config_file, name, ids, everything, dry_run, yes, filters)


_action("retry", "Try now.")
_action("hold", "Keep until released.")
_action("release", "Release held mail and try it now.")
_action("bounce", "Return to the senders as undeliverable.")
_action("drop", "Remove without telling anybody.")
