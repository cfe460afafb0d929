"""`mailbox alias`: add, update, list, show, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import Size, json_option, print_fields, print_json, print_table, size, time
from mailbox_app.proto.plain_text import clean


@click.group("alias")
def command() -> None:
    """Addresses that stand for others, here or outside; @example.org catches all that is left."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """What `add` and `update` both say of an alias."""
    for option in reversed(
        (
            click.option(
                "--list/--no-list", "is_list", default=None, help="A list: checks posters, takes its bounces."
            ),
            click.option(
                "--post",
                type=click.Choice(["anyone", "members", "posters", "domain"]),
                help="Who may post to the list.",
            ),
            click.option(
                "--poster", "posters", multiple=True, metavar="ADDRESS", help="May post, with --post posters."
            ),
            click.option("--owner", metavar="ADDRESS", help='Gets the list\'s bounces; "" for the postmaster.'),
            click.option("--max-size", "max_bytes", type=Size(), help="The list's largest message, as 2M; 0 for none."),
            click.option("--description", help="A line for people."),
            click.option("--enabled/--disabled", "enabled", default=None, help="A disabled one refuses mail."),
            click.option(
                "--members-may-send/--members-may-not-send", default=None, help="Whether they may send as it."
            ),
        )
    ):
        function = option(function)
    return function


def _words(
    *, is_list: bool | None, posters: tuple[str, ...], members_may_send: bool | None, **others: Any
) -> dict[str, Any]:
    words = {
        "kind": None if is_list is None else "list" if is_list else "alias",
        "posters": list(posters) or None,
        "members_may_send": members_may_send,
        **others,
    }
    return {name: value for name, value in words.items() if value is not None}


@command.command("add")
@click.argument("address")
@click.argument("targets", nargs=-1, required=True)
@_options
@click.pass_obj
def add(config_file: str | None, /, address: str, targets: tuple[str, ...], **words: Any) -> None:
    """An alias or list; one that is there leads to these targets from now on."""
    alias = connection.call(config_file, "alias.add", address=address, targets=list(targets), **_words(**words))
    click.echo(_sentence(alias))


@command.command("update")
@click.argument("address")
@click.argument("targets", nargs=-1)
@_options
@click.pass_obj
def update(config_file: str | None, /, address: str, targets: tuple[str, ...], **words: Any) -> None:
    """Change an alias or list; what is not named stays as it is, the targets too."""
    alias = connection.call(config_file, "alias.update", address=address, targets=list(targets), **_words(**words))
    click.echo(_sentence(alias))


@command.command("show")
@click.argument("address")
@json_option
@click.pass_obj
def show(config_file: str | None, address: str, as_json: bool) -> None:
    """One alias or list."""
    alias = connection.call(config_file, "alias.show", address=address)
    if as_json:
        print_json(alias)
        return
    fields = [
        ("address", alias["address"]),
        ("kind", alias["kind"]),
        ("description", alias["description"]),
        ("leads to", ", ".join(alias["targets"])),
        ("state", "enabled" if alias["enabled"] else "disabled"),
        ("may send as it", "members" if alias["members_may_send"] else "nobody"),
    ]
    if alias["kind"] == "list":
        fields += [
            ("may post", " ".join([alias["post"], *alias["posters"]])),
            ("bounces to", alias["owner"] or "the postmaster"),
            ("largest message", size(alias["max_bytes"]) if alias["max_bytes"] else "as the server"),
        ]
    print_fields([*fields, ("since", time(alias["created_at"]))])


@command.command("list")
@click.argument("domain", required=False, default="")
@json_option
@click.pass_obj
def list_all(config_file: str | None, domain: str, as_json: bool) -> None:
    """All aliases, or those of one domain."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "alias.list", "aliases", domain=domain)
    if as_json:
        print_json(found)
        return
    print_table(
        ["ALIAS", "LEADS TO", "SINCE", "KIND"],
        [
            (each["address"], ", ".join(each["targets"]), time(each["created_at"]), _kind(each))
            for each in found["aliases"]
        ],
        "There is no alias: mailbox alias add info@example.org alice@example.org",
    )


@command.command("remove")
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Tell what would happen.")
@click.pass_obj
def remove(config_file: str | None, address: str, dry_run: bool) -> None:
    """Mail for the alias is refused from now on, unless a catch-all takes it."""
    if dry_run:
        alias = connection.call(config_file, "alias.show", address=address)
        click.echo(f"Would remove {clean(alias['address'])}, which leads to {clean(', '.join(alias['targets']))}.")
        return
    alias = connection.call(config_file, "alias.remove", address=address)
    click.echo(f"Removed {clean(alias['address'])}; it led to {clean(', '.join(alias['targets']))}.")


def _kind(alias: Mapping[str, Any]) -> str:
    kind = f"list, {alias['post']} post" if alias["kind"] == "list" else "alias"
    return kind if alias["enabled"] else f"{kind}, disabled"


def _sentence(alias: Mapping[str, Any]) -> str:
    sentence = f"{clean(alias['address'])} leads to {clean(', '.join(alias['targets']))}."
    return sentence if alias["enabled"] else f"{sentence} It is disabled: mail is refused."
