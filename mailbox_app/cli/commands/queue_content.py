"""`mailbox queue header|message|quarantine`: the messages themselves, and those that cannot be read."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands.queue_filters import wire_filter
from mailbox_app.cli.output import json_option, print_json, print_lines, print_table, size, time
from mailbox_app.control.client import ControlClient
from mailbox_app.errors import QueueError

_MAX_SHOWN_BYTES = 100_000


@click.command("header")
@click.argument("queue_id")
@click.pass_obj
def header(config_file: str | None, queue_id: str) -> None:
    """The header of a waiting message."""
    print_lines(connection.call(config_file, "queue.show", id=queue_id)["header"])


@click.command("message")
@click.argument("queue_id")
@click.option("--raw", is_flag=True, help="The bytes as they are stored, to a file or a pipe.")
@click.pass_obj
def message(config_file: str | None, queue_id: str, raw: bool) -> None:
    """The message as it is stored; the audit says who read it."""
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw writes bytes that a terminal may obey: send them to a file or a pipe")
    with connection.connect(config_file) as client:
        pieces = _pieces(client, queue_id)
        if not raw:
            data = next(pieces, b"")
            print_lines(data[:_MAX_SHOWN_BYTES].decode("utf-8", "replace"))
            if len(data) > _MAX_SHOWN_BYTES:
                click.echo(
                    f"(The message goes on: mailbox queue message {queue_id} --raw > FILE has all of it.)", err=True
                )
            return
        output = sys.stdout.buffer
        for piece in pieces:
            output.write(piece)
        output.flush()


def _pieces(client: ControlClient, queue_id: str) -> Iterator[bytes]:
    offset = 0
    while True:
        found = client.call("queue.content", {"id": queue_id, "offset": offset})
        piece = base64.b64decode(found["data"])
        offset += len(piece)
        if piece:
            yield piece
        if offset >= found["size_bytes"]:
            return
        if not piece:
            raise QueueError("queue.cut_off", f"the file ends after {offset} of {found['size_bytes']} bytes")


@click.command("quarantine")
@json_option
@click.pass_obj
def quarantine(config_file: str | None, as_json: bool) -> None:
    """Mail that cannot be read, and why; release tries it again, bounce and drop end it."""
    where = wire_filter((), state="quarantined")
    with connection.connect(config_file) as client:
        rows = connection.every(client, "queue.list", "rows", filter=where, sort="age", limit=500)["rows"]
    if as_json:
        print_json({"rows": rows})
        return
    print_table(
        ["ID", "ARRIVED", "SIZE", "FROM", "TO", "WHY"],
        [
            (row["id"], time(row["arrived_at"]), size(row["size_bytes"]), row["from"] or "<>", row["to"], row["reason"])
            for row in rows
        ],
        "Nothing is in quarantine: every waiting message can be read.",
    )  # fmt: skip
    if rows:
        click.echo()
        click.echo(
            "mailbox queue release ID tries it again; bounce ID and drop ID end it; message ID --raw > FILE saves it."
        )


COMMANDS = (header, message, quarantine)
