"""`mailbox demo`."""

from __future__ import annotations

import importlib

import click


@click.command("demo")
@click.option("--once", is_flag=True, help="Tell the story step by step and end, also on a terminal.")
def command(once: bool) -> int:
    """The whole server on loopback ports in a throw-away folder, beside a pretend internet, with mail flowing."""
    code: int = importlib.import_module("mailbox_app.demo.main").run(once=once)
    return code
