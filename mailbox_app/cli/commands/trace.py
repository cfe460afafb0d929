"""`mailbox trace`: why a message went where it went, or a search for messages that came to our door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import Duration, json_option, print_fields, print_json, print_table, size, time
from mailbox_app.proto.plain_text import clean


@click.command("trace")
@click.argument("identifier", required=False)
@click.option("--address", "addresses", multiple=True, help="A sender or recipient; @domain for all of a domain.")
@click.option("--ip", default="", help="The client's address.")
@click.option("--message-id", default="", help="The Message-ID.")
@click.option("--since", type=Duration(), default=None, help="Of the last so long, like 2d.")
@click.option("--until", type=Duration(), default=None, help="Older than so long.")
@click.option("--outcome", type=click.Choice(["accepted", "junk", "deferred", "refused"]), default=None)
@click.option("--before", type=click.IntRange(0), default=None, help="Only records before this number: the next page.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
@click.pass_obj
def command(
    config_file: str | None,
    identifier: str | None,
    addresses: Sequence[str],
    ip: str,
    message_id: str,
    since: float | None,
    until: float | None,
    outcome: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Why a message went where it went.

    IDENTIFIER is a trace id, queue id, session id or Message-ID. Without one, the messages that fit the options are listed.
    """
    words = [*addresses, *filter(None, (ip, message_id))]
    if identifier:
        if words or since is not None or until is not None or outcome is not None or before is not None:
            raise click.UsageError("give an identifier or a search, not both")
        _show(config_file, identifier, as_json=as_json)
        return
    found = connection.call(
        config_file,
        "trace.search",
        words=words,
        since_seconds=since,
        until_seconds=until,
        outcome=outcome,
        before_no=before,
        limit=limit,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["NO", "AT", "OUTCOME", "FROM", "TO", "CODE", "SCORE", "ID", "WHY"],
        [
            (
                each["no"], time(each["at"]), each["outcome"], each["sender"] or "<>", _some(each["recipients"]), each["code"],
                each["score"], each["trace_id"] or each["session_id"], each["reason"][:60],
            )
            for each in found["rows"]
        ],
        "No message fits.",
    )  # fmt: skip


def _show(config_file: str | None, identifier: str, *, as_json: bool) -> None:
    found = connection.call(config_file, "trace.show", id=identifier)
    if as_json:
        print_json(found)
        return
    for number, why in enumerate(found["decisions"]):
        if number:
            click.echo("")
        _print_decision(why)
    if found["events"]:
        click.echo("")
        print_table(
            ["AT", "EVENT", "QUEUE ID", "TO", "HOST", "CODE", "TEXT"],
            [
                (
                    time(each["at"]), each["verb"], each["queue_id"], _some(each["recipients"]), each["remote"], each["code"],
                    each["text"][:100],
                )
                for each in found["events"]
            ],
            "",
        )  # fmt: skip


def _print_decision(why: Mapping[str, Any]) -> None:
    client = f"{why['remote']} ({why['remote_name'] or 'no confirmed name'})" if why["remote"] else ""
    print_fields(
        (name, value)
        for name, value in (
            ("outcome", f"{why['outcome']}: {why['code']} {why['text']}"),
            ("at", time(why["at"])),
            ("id", why["trace_id"]),
            ("session", why["session_id"]),
            ("client", client),
            ("helo", why["helo"]),
            ("tls", why["tls"]),
            ("account", why["account"]),
            ("from", why["sender"] or "<>"),
            ("to", ", ".join(why["recipients"])),
            ("message-id", why["message_id"]),
            ("subject", why["subject"]),
            ("size", size(why["size_bytes"]) if why["size_bytes"] else ""),
            ("authentication", why["authentication"]),
            ("score", f"{why['score']} (junk from {why['junk_score']})" if why["findings"] else ""),
            ("queued as", ", ".join(why["queue_ids"])),
        )
        if value
    )
    for said in why["findings"]:
        _print_finding(said)
    for copy in why["copies"]:
        where = f"{copy['address']}: {copy['action']}"
        where += f" {copy['target']}" if copy.get("target") else ""
        where += f" ({copy['reason']})" if copy.get("reason") else ""
        click.echo(clean(f"  -> {where}"))
        for step in copy.get("steps", ()):
            click.echo(clean(f"     {step}"))


def _print_finding(said: Mapping[str, Any]) -> None:
    verdict = said.get("verdict", "accept")
    marks = [f"{said.get('score', 0):+.1f}" if said.get("score") else "", verdict if verdict != "accept" else ""]
    marks += [f"only {said['account']}" if said.get("account") else "", "advisory" if said.get("advisory") else ""]
    words = ", ".join(filter(None, marks))
    click.echo(clean(f"  {said['check']}: {said['reason']}" + (f" [{words}]" if words else "")))


def _some(addresses: Sequence[str]) -> str:
    return addresses[0] + (f" +{len(addresses) - 1}" if len(addresses) > 1 else "") if addresses else ""
