"""`mailbox rebuild-index`, with the server running or stopped."""

from __future__ import annotations

import click

from mailbox_app.cli import connection
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean


@click.command("rebuild-index")
@click.argument("addresses", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All accounts.")
@click.pass_obj
def command(config_file: str | None, addresses: tuple[str, ...], everything: bool) -> None:
    """Throw an account's index away and make it anew from its files; flags, UIDs and mailboxes stay as they are."""
    if bool(addresses) == everything:
        raise click.UsageError("say which accounts, or --all")
    try:
        with connection.connect(config_file, patient=False) as client:
            names = addresses or [
                user["address"]
                for user in connection.every(client, "user.list", "users")["users"]
                if user["state"] != "removed"
            ]
            for address in names:
                _tell(address, client.call("store.rebuild_index", {"address": address})["messages"])
    except ControlError as error:
        if error.code != "control.unreachable":
            raise
        _offline(config_file, addresses)


def _offline(config_file: str | None, addresses: tuple[str, ...]) -> None:
    from mailbox_app.cli.offline import data_folder

    with data_folder(config_file) as data:
        accounts = [data.directory.existing(address) for address in addresses] or data.directory.accounts()
        for account in accounts:
            _tell(account.address, data.store.rebuild(account.ref))


def _tell(address: str, messages: int) -> None:
    click.echo(f"{clean(address)}: {messages} messages")
