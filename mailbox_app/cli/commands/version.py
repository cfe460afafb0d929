"""`mailbox version`."""

from __future__ import annotations

import platform
from importlib.metadata import version

import click

from mailbox_app.cli.output import json_option, print_json


@click.command("version")
@json_option
def command(as_json: bool) -> None:
    """This program's version."""
    if as_json:
        print_json({"version": version("mailbox"), "python": platform.python_version()})
    else:
        click.echo(f"mailbox {version('mailbox')}")
