"""`mailbox serve`."""

from __future__ import annotations

import click


@click.command("serve")
@click.option("--single", is_flag=True, help="One process does everything; for tests and tiny machines.")
@click.pass_obj
def command(config_file: str | None, single: bool) -> int:
    """Run the server in the foreground: SIGTERM stops it, SIGHUP reloads the configuration."""
    from mailbox_app.runtime.serve import serve

    return serve(config_file, single=single)
