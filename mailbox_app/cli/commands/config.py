"""`mailbox config`: check, show, get, set, history. Checking, showing and getting work without a running server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.config.paths import config_path
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean

_EXIT_WAITS = 3


@click.group("config")
def command() -> None:
    """The configuration."""


@command.command("check")
@json_option
@click.pass_obj
def check(config_file: str | None, as_json: bool) -> int:
    """Whether the file is valid; its mistake with file, line and key."""
    from mailbox_app.config.load import load
    from mailbox_app.errors import ConfigError

    file = config_path(config_file)
    error = ""
    try:
        load(file)
    except ConfigError as found:
        error = found.public_text
    if as_json:
        print_json({"ok": not error, "error": error})
    else:
        click.echo(clean(error) if error else clean(f"{file}: ok"), err=bool(error))
    return 1 if error else 0


@command.command("show")
@click.option("--changed", is_flag=True, help="Only what differs from the default.")
@json_option
@click.pass_obj
def show(config_file: str | None, changed: bool, as_json: bool) -> None:
    """Every setting with its value."""
    found = _ask(config_file, "config.show") or _read(config_file)
    if as_json:
        print_json(found)
        return
    for section in found["sections"]:
        settings = [each for each in section["settings"] if not changed or each["value"] != each["default"]]
        if settings:
            click.echo(f"[{section['name']}]")
            for each in settings:
                name = each["key"].partition(".")[2]
                click.echo(clean(f"{name} = {toml(each['value'])}"))


@command.command("get")
@click.argument("key")
@json_option
@click.pass_obj
def get(config_file: str | None, key: str, as_json: bool) -> None:
    """One setting, like limits.max_recipients."""
    setting = _ask(config_file, "config.get", key=key) or _find(_read(config_file), key)
    if as_json:
        print_json(setting)
    else:
        click.echo(clean(toml(setting["value"])))


@command.command("set")
@click.argument("key")
@click.argument("value")
@click.argument("more", nargs=-1, metavar="[KEY VALUE]...")
@click.pass_obj
def change(config_file: str | None, key: str, value: str, more: tuple[str, ...]) -> int:
    """Change a setting in the file, keeping its comments, and apply it. Exit 3 when it waits for a restart.

    Settings that need each other, like tls.cert_file and tls.key_file, are changed together: KEY VALUE KEY VALUE.
    """
    if len(more) % 2:
        raise click.UsageError("each setting needs a value: KEY VALUE KEY VALUE")
    others = dict(zip(more[::2], more[1::2], strict=True))
    done = connection.call(config_file, "config.set", key=key, value=value, more=others)
    for each in (done, *done["more"]):
        click.echo(clean(f"{each['key']}: {toml(each['old'])} is now {toml(each['new'])}"))
    if done["applied"] == "restart":
        click.echo("It takes effect when the server is started again.")
        return _EXIT_WAITS
    return 0


@command.command("history")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@json_option
@click.pass_obj
def history(config_file: str | None, limit: int, as_json: bool) -> None:
    """Changes made with `config set`, newest first."""
    found = connection.call(config_file, "audit.list", what="config.set", limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ["AT", "WHO", "SETTING", "BEFORE", "AFTER", "RESULT"],
        [
            (time(each["at"]), each["who"], each["object"], each["before"], each["after"], each["result"][:60])
            for each in found["entries"]
        ],
        "No setting was changed yet.",
    )


def toml(value: object) -> str:
    """A plain value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(toml(each) for each in value)}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def _ask(config_file: str | None, method: str, **params: object) -> dict[str, Any] | None:
    """The running server's answer; None when there is none to ask."""
    try:
        with connection.connect(config_file, patient=False) as client:
            return client.call(method, params)
    except ControlError as error:
        if error.code in {"control.unreachable", "control.not_permitted"}:
            return None
        raise


def _read(config_file: str | None) -> dict[str, Any]:
    """The same from the file."""
    import msgspec

    from mailbox_app.config import edit
    from mailbox_app.config.load import load

    described = edit.describe(load(config_path(config_file)))
    found: dict[str, Any] = msgspec.to_builtins(
        {"sections": [{"name": name, "doc": doc, "settings": list(rows)} for name, doc, rows in described]}
    )
    return found


def _find(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    for section in found["sections"]:
        for each in section["settings"]:
            if each["key"] == key:
                setting: dict[str, Any] = each
                return setting
    raise ControlError("config.unknown_key", f"{key}: there is no such setting; config show lists all")
