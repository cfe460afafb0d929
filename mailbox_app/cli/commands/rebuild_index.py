"""`mailbox rebuild-index`, with the server running or stopped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import size
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean

if TYPE_CHECKING:
    from mailbox_app.accounts.model import Account
    from mailbox_app.cli.offline import Offline


@click.command("rebuild-index")
@click.argument("addresses", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All accounts.")
@click.option("--search", is_flag=True, help="The search index instead: what text searches look in.")
@click.pass_obj
def command(config_file: str | None, addresses: tuple[str, ...], everything: bool, search: bool) -> None:
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
                method = "store.rebuild_search" if search else "store.rebuild_index"
                made = client.call(method, {"address": address}, _show)
                _tell(address, made["messages"], made.get("size_bytes"))
    except ControlError as error:
        if error.code != "control.unreachable":
            raise
        _offline(config_file, addresses, search=search)


def _offline(config_file: str | None, addresses: tuple[str, ...], *, search: bool) -> None:
    from mailbox_app.cli.offline import data_folder

    with data_folder(config_file) as data:
        accounts = [data.directory.existing(address) for address in addresses] or data.directory.accounts()
        for account in accounts:
            if search:
                _tell(account.address, *_search_index(data, account))
            else:
                _tell(account.address, data.store.rebuild(account.ref))


def _search_index(data: Offline, account: Account) -> tuple[int, int]:
    from mailbox_app.store.search.builder import IndexBuilder

    builder = IndexBuilder(data.store, data.data_dir)
    builder.discard(account.ref)
    total, done = builder.waiting(account.ref), 0
    for count in builder.batches(account.ref):
        done += count
        _show(done, total, account.address)
    return done, builder.size_bytes(account.ref)


def _show(done: int, total: int, address: str) -> None:
    """One line that is written over, where somebody watches."""
    if total and sys.stderr.isatty():
        click.echo(
            f"\r{clean(address)}: {done} of {total}\x1b[K" + ("\r\x1b[K" if done >= total else ""), nl=False, err=True
        )


def _tell(address: str, messages: int, size_bytes: int | None = None) -> None:
    room = "" if size_bytes is None else f", {size(size_bytes)} on disk"
    click.echo(f"{clean(address)}: {messages} messages{room}")
