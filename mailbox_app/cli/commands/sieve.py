"""`mailbox sieve`: list, show, put, activate, deactivate, delete, rename, check, test, run."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_lines, print_table, size
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean

_MESSAGE_BYTES = 600_000
"""What is sent of a message that is tried: one frame of the control protocol holds it."""


@click.group("sieve")
def command() -> None:
    """Filter scripts: rules for incoming mail, of accounts and in files."""


def _read(file: str) -> str:
    """A script's text from a file or, as `-`, from standard input."""
    try:
        data = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise ControlError("sieve.unreadable", f"{file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise ControlError("sieve.unreadable", f"{file} is not UTF-8, as a script must be") from error
    return data


def _read_message(file: str) -> str:
    try:
        data = sys.stdin.buffer.read(_MESSAGE_BYTES) if file == "-" else _start_of(Path(file))
    except OSError as error:
        raise ControlError("sieve.unreadable", f"{file} cannot be read: {error.strerror}") from error
    if b"\r\n" not in data:
        data = data.replace(b"\n", b"\r\n")
    return base64.b64encode(data[:_MESSAGE_BYTES]).decode("ascii")


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MESSAGE_BYTES)


@command.command("list")
@click.argument("address")
@json_option
@click.pass_obj
def list_all(config_file: str | None, address: str, as_json: bool) -> None:
    """An account's scripts."""
    found = connection.call(config_file, "sieve.list", address=address)
    if as_json:
        print_json(found)
        return
    print_table(
        ["SCRIPT", "SIZE", "STATE"],
        [(each["name"], size(each["size_bytes"]), "active" if each["active"] else "-") for each in found["scripts"]],
        f"{address} has no script: mailbox sieve put {address} NAME FILE --activate",
    )
    if found["failure"]:
        click.echo(f"\nThe last failure: {clean(found['failure'])}")


@command.command("show")
@click.argument("address")
@click.argument("name")
@json_option
@click.pass_obj
def show(config_file: str | None, address: str, name: str, as_json: bool) -> None:
    """A script's text."""
    found = connection.call(config_file, "sieve.show", address=address, name=name)
    if as_json:
        print_json(found)
    else:
        print_lines(found["source"].rstrip("\r\n"))


@command.command("put")
@click.argument("address")
@click.argument("name")
@click.argument("file")
@click.option("--activate", "activates", is_flag=True, help="It runs from now on.")
@click.pass_obj
def put(config_file: str | None, address: str, name: str, file: str, activates: bool) -> None:
    """Keep a script that is in a file (- for standard input); one with a mistake is refused."""
    connection.call(config_file, "sieve.put", address=address, name=name, source=_read(file), activate=activates)
    click.echo(f"Put {clean(name)}{', which runs from now on' if activates else ''}.")


@command.command("activate")
@click.argument("address")
@click.argument("name")
@click.pass_obj
def activate(config_file: str | None, address: str, name: str) -> None:
    """Let a script run for all mail that comes in, instead of the one that did."""
    connection.call(config_file, "sieve.activate", address=address, name=name)
    click.echo(f"{clean(name)} runs from now on.")


@command.command("deactivate")
@click.argument("address")
@click.pass_obj
def deactivate(config_file: str | None, address: str) -> None:
    """Let no script of the account run."""
    connection.call(config_file, "sieve.activate", address=address, name="")
    click.echo(f"No script of {clean(address)} runs from now on.")


@command.command("delete")
@click.argument("address")
@click.argument("name")
@click.pass_obj
def delete(config_file: str | None, address: str, name: str) -> None:
    """Remove a script that does not run."""
    connection.call(config_file, "sieve.delete", address=address, name=name)
    click.echo(f"Deleted {clean(name)}.")


@command.command("rename")
@click.argument("address")
@click.argument("name")
@click.argument("new_name")
@click.pass_obj
def rename(config_file: str | None, address: str, name: str, new_name: str) -> None:
    """Call a script something else; an active one stays active."""
    connection.call(config_file, "sieve.rename", address=address, name=name, new_name=new_name)
    click.echo(f"{clean(name)} is now {clean(new_name)}.")


@command.command("check")
@click.argument("file")
@json_option
@click.pass_obj
@click.pass_context
def check(context: click.Context, config_file: str | None, file: str, as_json: bool) -> None:
    """Read a script in a file and tell every mistake with its line and column. No server is needed."""
    from mailbox_app.proto.sieve.faults import SieveError
    from mailbox_app.proto.sieve.script import compile_script

    problems: list[dict[str, Any]] = []
    try:
        compile_script(_read(file))
    except SieveError as error:
        problems = [{"line": each.line, "column": each.column, "message": each.message} for each in error.problems]
    if as_json:
        print_json({"problems": problems})
    else:
        for each in problems:
            click.echo(f"{clean(file)}:{each['line']}:{each['column']}: {clean(each['message'])}")
        if not problems:
            click.echo("The script is valid.")
    context.exit(1 if problems else 0)


@command.command("test")
@click.argument("script")
@click.argument("message")
@click.option("--for", "address", metavar="ADDRESS", help="As this account would: with its mailboxes, scripts, memory.")
@click.option("--stored", is_flag=True, help="SCRIPT is the name of one of the account's scripts, not a file.")
@click.option("--from", "sender", default="", metavar="ADDRESS", help="The envelope sender.")
@click.option("--to", "recipient", default="", metavar="ADDRESS", help="The envelope recipient.")
@click.option("--junk", "is_junk", is_flag=True, help="As if the message had been found to be junk.")
@json_option
@click.pass_obj
def test(
    config_file: str | None,
    script: str,
    message: str,
    address: str | None,
    stored: bool,
    sender: str,
    recipient: str,
    is_junk: bool,
    as_json: bool,
) -> None:
    """Run a SCRIPT (a file) on a MESSAGE (a file, - for standard input): each step, and what would be done. Nothing is changed.

    Without --for no server is needed, and every mailbox is taken to be there.
    """
    content = _read_message(message)
    if address is None:
        from mailbox_app.cli import sieve_trial

        if stored:
            raise click.UsageError("--stored needs --for ADDRESS")
        found = sieve_trial.tried(_read(script), base64.b64decode(content), sender, recipient)
    else:
        what: dict[str, Any] = {"name": script} if stored else {"source": _read(script)}
        found = connection.call(
            config_file, "sieve.test", address=address, message=content, sender=sender, recipient=recipient,
            is_junk=is_junk, **what,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    for step in found["steps"]:
        click.echo(f"  {clean(step)}")
    for line in found["actions"]:
        click.echo(f"=> {clean(line)}")
    for note in found["notes"]:
        click.echo(f"   note: {clean(note)}")


@command.command("vacation")
@click.argument("address")
@click.option("--text", help="What those hear who write meanwhile.")
@click.option("--text-file", metavar="FILE", help="The same from a file (- for standard input).")
@click.option("--subject", default="", help="The answer's subject.")
@click.option("--first-day", metavar="YYYY-MM-DD", help="Not before.")
@click.option("--last-day", metavar="YYYY-MM-DD", help="Not after.")
@click.option("--every", "every_days", type=click.IntRange(1, 365), default=7, show_default=True, help="Days.")
@click.option("--clear", is_flag=True, help="No answer any more.")
@json_option
@click.pass_obj
def vacation(
    config_file: str | None,
    /,
    address: str,
    text: str | None,
    text_file: str | None,
    clear: bool,
    as_json: bool,
    **words: Any,
) -> None:
    """An out-of-office answer, beside the account's own script. Without options: show it."""
    has_text = text is not None or text_file is not None
    if (words["subject"] or words["first_day"] or words["last_day"]) and (clear or not has_text):
        raise click.UsageError("tell the answer too, with --text or --text-file")
    if clear:
        if has_text:
            raise click.UsageError("--clear takes no text")
        cleared = connection.call(config_file, "sieve.clear_away", address=address)
        if as_json:
            print_json(cleared)
        else:
            click.echo(f"{clean(address)} answers nobody by itself any more.")
        return
    if has_text:
        said = text if text is not None else _read(text_file or "-")
        found = connection.call(config_file, "sieve.set_away", address=address, text=said, **words)
    else:
        everybody = connection.call(config_file, "sieve.away", domain=address.rpartition("@")[2])["away"]
        found = next((each for each in everybody if each["address"] == address.lower()), {})
        if not found:
            connection.call(config_file, "user.show", address=address)  # an account that is none is told as such
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"{clean(address)} has no out-of-office answer.")
    else:
        click.echo(f"{clean(found['address'])} {_days(found)}, again after {found['every_days']} days:")
        print_lines(found["text"])


@command.command("away")
@click.argument("domain", required=False, default="")
@json_option
@click.pass_obj
def away(config_file: str | None, domain: str, as_json: bool) -> None:
    """Who has an out-of-office answer."""
    found = connection.call(config_file, "sieve.away", domain=domain)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ACCOUNT", "WHEN", "NOW", "SUBJECT"],
        [(each["address"], _days(each), "on" if each["is_on"] else "off", each["subject"]) for each in found["away"]],
        "Nobody has an out-of-office answer.",
    )


def _days(each: dict[str, Any]) -> str:
    first, last = each["first_day"], each["last_day"]
    return " ".join([f"from {first}" if first else "", f"until {last}" if last else ""]).strip() or "until taken back"


@command.command("run")
@click.argument("address")
@click.argument("mailbox")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@json_option
@click.pass_obj
def run(config_file: str | None, address: str, mailbox: str, name: str, dry_run: bool, as_json: bool) -> None:
    """Run one of an account's scripts over the mail that is in a mailbox. Nobody is sent anything."""
    found = connection.call(config_file, "sieve.run", address=address, mailbox=mailbox, name=name, dry_run=dry_run)
    if as_json:
        print_json(found)
        return
    print_table(
        ["UID", "SUBJECT", "WHAT", "WHERE"],
        [(each["uid"], each["subject"], each["act"], ", ".join(each["targets"])) for each in found["lines"]],
        "No message is affected.",
    )
    acts = ", ".join(f"{count} {act}" for act, count in sorted(found["acts"].items())) or "none there"
    click.echo(f"{'Would be: ' if dry_run else ''}{found['messages']} messages: {acts}.")
