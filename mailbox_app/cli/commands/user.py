"""`mailbox user`: accounts. A password comes from a prompt or a file, never from the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands import app_password, retained_mail
from mailbox_app.cli.output import Size, json_option, print_fields, print_json, print_table, size, time
from mailbox_app.errors import AccountError
from mailbox_app.proto.plain_text import clean

_RECOMMENDED_CHARACTERS = 12
_password_file = click.option(
    "--password-file", metavar="FILE", help="Read the password from a file's first line; - for standard input."
)


@click.group("user")
def command() -> None:
    """Accounts."""


command.add_command(app_password.command)


@command.command("add")
@click.argument("address")
@_password_file
@click.option("--quota", type=Size(), default="0", help="The most its mail may take, like 2G.")
@click.pass_obj
def add(config_file: str | None, address: str, password_file: str | None, quota: int) -> None:
    """A new account."""
    password = _password(password_file)
    user = connection.call(config_file, "user.add", address=address, password=password, quota_bytes=quota)
    click.echo(f"Added {clean(user['address'])}.")
    _advise(password)


@command.command("list")
@click.argument("domain", required=False, default="")
@json_option
@click.pass_obj
def list_all(config_file: str | None, domain: str, as_json: bool) -> None:
    """All accounts, or those of one domain."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "user.list", "users", domain=domain)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ADDRESS", "STATE", "MESSAGES", "USED", "QUOTA", "LAST LOGIN"],
        [
            (each["address"], _state(each), each["messages"], size(each["used_bytes"]), _quota(each),
             time(each["last_login_at"]))
            for each in found["users"]
        ],
        "There is no account yet: mailbox user add alice@example.org",
    )  # fmt: skip


@command.command("show")
@click.argument("address")
@json_option
@click.pass_obj
def show(config_file: str | None, address: str, as_json: bool) -> None:
    """One account."""
    user = connection.call(config_file, "user.show", address=address)
    if as_json:
        print_json(user)
        return
    print_fields([
        ("address", user["address"]),
        ("state", _state(user)),
        *([("held", user["held_because"])] if user["held_because"] else []),
        ("messages", user["messages"]),
        ("used", size(user["used_bytes"])),
        ("quota", _quota(user)),
        ("since", time(user["created_at"])),
        ("last login", time(user["last_login_at"])),
    ])  # fmt: skip


@command.command("mailboxes")
@click.argument("address")
@json_option
@click.pass_obj
def mailboxes(config_file: str | None, address: str, as_json: bool) -> None:
    """An account's mailboxes, with counts."""
    found = connection.call(config_file, "user.mailboxes", address=address)
    if as_json:
        print_json(found)
        return
    print_table(
        ["MAILBOX", "MESSAGES", "UNSEEN", "SIZE", "USE"],
        [
            (each["name"], each["messages"], each["unseen"], size(each["size_bytes"]), each["special_use"])
            for each in found["mailboxes"]
        ],
        "This account has no mailbox.",
    )


@command.command("password")
@click.argument("address")
@_password_file
@click.pass_obj
def password(config_file: str | None, address: str, password_file: str | None) -> None:
    """A new password; the old one is void at once."""
    new = _password(password_file)
    user = connection.call(config_file, "user.password", address=address, password=new)
    click.echo(f"{clean(user['address'])} has a new password.")
    _advise(new)


@command.command("quota")
@click.argument("address")
@click.argument("quota", type=Size())
@click.option("--messages", type=click.IntRange(0), help="The most messages it may hold; 0 for no limit.")
@click.pass_obj
def quota(config_file: str | None, address: str, quota: int, messages: int | None) -> None:
    """The most an account's mail may take, like 2G; none for no limit."""
    user = connection.call(config_file, "user.quota", address=address, quota_bytes=quota, quota_messages=messages)
    click.echo(f"{clean(user['address'])} may use {_quota(user)} and uses {size(user['used_bytes'])}.")


@command.command("disable")
@click.argument("address")
@click.pass_obj
def disable(config_file: str | None, address: str) -> None:
    """No login; mail is still accepted and kept."""
    user = connection.call(config_file, "user.disable", address=address)
    click.echo(f"{clean(user['address'])} is disabled; its mail is still accepted.")


@command.command("enable")
@click.argument("address")
@click.pass_obj
def enable(config_file: str | None, address: str) -> None:
    """Let a disabled account log in again."""
    user = connection.call(config_file, "user.enable", address=address)
    click.echo(f"{clean(user['address'])} is enabled.")
    if user["sending"] != "free":
        click.echo(f"What it sends is still held: mailbox user resume {clean(user['address'])}")


@command.command("suspend")
@click.argument("address")
@click.option("--reason", default="", help="Shown with the mail that is held.")
@click.pass_obj
def suspend(config_file: str | None, address: str, reason: str) -> None:
    """Stop an account in one step: no login, and what it sent and has not left yet is held."""
    done = connection.call(config_file, "user.suspend", address=address, reason=reason)
    count = (
        "1 recipient of its mail is" if done["recipients"] == 1 else f"{done['recipients']} recipients of its mail are"
    )
    click.echo(f"{clean(done['address'])} is suspended; {count} held.")


@command.command("resume")
@click.argument("address")
@click.option("--release", is_flag=True, help="What was held goes out; without it, it stays held.")
@click.pass_obj
def resume(config_file: str | None, address: str, release: bool) -> None:
    """Let a suspended or braked account log in and send again."""
    done = connection.call(config_file, "user.resume", address=address, release=release)
    count = "1 recipient" if done["recipients"] == 1 else f"{done['recipients']} recipients"
    rest = f"; held mail to {count} goes out" if release else "; what was held stays held"
    click.echo(f"{clean(done['address'])} may send again{rest}.")


@command.command("remove")
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@click.pass_obj
def remove(config_file: str | None, address: str, dry_run: bool) -> None:
    """Into the trash with all its mail, for 30 days."""
    if dry_run:
        user = connection.call(config_file, "user.show", address=address)
        count, used = user["messages"], size(user["used_bytes"])
        click.echo(f"Would move {clean(user['address'])} with {count} messages ({used}) to the trash for 30 days.")
        _tell_naming(user)
        return
    user = connection.call(config_file, "user.remove", address=address)
    name = clean(user["address"])
    click.echo(f"Removed {name}. For 30 days it can come back: mailbox user restore {name}")
    _tell_naming(user)


@command.command("restore")
@click.argument("address")
@retained_mail.options
@click.pass_obj
def restore(config_file: str | None, /, address: str, **wanted: Any) -> None:
    """A removed account out of the trash; with --messages, expunged messages back into their mailboxes."""
    if retained_mail.is_asked_for(wanted):
        retained_mail.restore(config_file, address, wanted)
        return
    if wanted["dry_run"]:
        with connection.connect(config_file) as client:
            users = connection.every(client, "user.list", "users", domain=address.rpartition("@")[2])["users"]
        removed = any(each["address"] == address and each["state"] == "removed" for each in users)
        click.echo(f"Would {'restore' if removed else 'find nothing to restore of'} {clean(address)}.")
        return
    user = connection.call(config_file, "user.restore", address=address)
    if wanted["as_json"]:
        print_json(user)
        return
    click.echo(f"Restored {clean(user['address'])} with {user['messages']} messages.")


def _state(user: Mapping[str, Any]) -> str:
    """One word: suspended is disabled with its mail held, braked and held may log in."""
    if user["sending"] == "free" or user["state"] == "removed":
        return str(user["state"])
    return "suspended" if user["state"] == "disabled" else str(user["sending"])


def _quota(user: Mapping[str, Any]) -> str:
    limit = size(user["quota_bytes"]) if user["quota_bytes"] else "no limit"
    return f"{limit} ({user['quota_messages']} messages)" if user.get("quota_messages") else limit


def _advise(password: str) -> None:
    if len(password) < _RECOMMENDED_CHARACTERS:
        click.echo(f"A password of {_RECOMMENDED_CHARACTERS} characters or more is recommended.", err=True)


def _password(file: str | None) -> str:
    if file is not None:
        try:
            text = sys.stdin.readline() if file == "-" else Path(file).read_text("utf-8")
            text.encode()  # a terminal's stray bytes come as lone surrogates
        except UnicodeError as error:
            raise AccountError(
                "account.bad_password", "the password is not UTF-8 text", fields={"remedy": "Write it anew in UTF-8."}
            ) from error
        return text.partition("\n")[0].rstrip("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password on: use --password-file FILE (- = stdin)")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    return answer


def _tell_naming(user: Mapping[str, Any]) -> None:
    if user["named_by"]:
        click.echo(f"Still named by {clean(', '.join(user['named_by']))}: mailbox alias update")
