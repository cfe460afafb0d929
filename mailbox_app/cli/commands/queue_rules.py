"""`mailbox queue rule ...`, `pause`, `resume`: what new mail is held, and where nothing is delivered for now."""

from __future__ import annotations

from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean


@click.group("rule")
def rule() -> None:
    """Rules that hold new mail from the start."""


@rule.command("list")
@json_option
@click.pass_obj
def list_rules(config_file: str | None, as_json: bool) -> None:
    """All hold rules."""
    found = connection.call(config_file, "queue.rules")
    if as_json:
        print_json(found)
        return
    print_table(
        ["NO", "FROM", "TO", "SUBMITTER", "SINCE", "REASON"],
        [
            (each["number"], each["from"], each["to"], each["submitter"], time(each["made_at"]), each["reason"])
            for each in found["rules"]
        ],
        "No mail is held by a rule. mailbox queue rule add makes one.",
    )


@rule.command("add")
@click.option("--from", "sender", default="", help="Sender address, @domain, or <> for bounces.")
@click.option("--to", "recipient", default="", help="Recipient address, or @domain.")
@click.option("--domain", default="", help="Recipients at this domain.")
@click.option("--submitter", default="", help="Sent by this account, or by all of @domain.")
@click.option("--reason", default="", help="What whoever looks at it later is told.")
@click.option("--waiting", is_flag=True, help="Hold also what waits already.")
@json_option
@click.pass_obj
def add(
    config_file: str | None,
    sender: str,
    recipient: str,
    domain: str,
    submitter: str,
    reason: str,
    waiting: bool,
    as_json: bool,
) -> None:
    """Hold new mail; all given conditions hold."""
    if domain and recipient:
        raise click.UsageError("--to and --domain both say the recipients: give one of them")
    wanted = recipient or (f"@{domain.removeprefix('@')}" if domain else "")
    params: dict[str, Any] = {
        "from": sender,
        "to": wanted,
        "submitter": submitter,
        "reason": reason,
        "waiting": waiting,
    }
    made = connection.call(config_file, "queue.add_rule", **params)
    if as_json:
        print_json(made)
        return
    also = f" {made['changed']} waiting recipients are held too." if waiting else ""
    click.echo(f"Done: new mail is held by rule {made['number']}.{also}")


@rule.command("remove")
@click.argument("number", type=click.IntRange(1))
@click.option("--release", is_flag=True, help="Release also what is held and matches.")
@json_option
@click.pass_obj
def remove(config_file: str | None, number: int, release: bool, as_json: bool) -> None:
    """End a rule; what it held stays held without --release."""
    removed = connection.call(config_file, "queue.remove_rule", number=number, release=release)
    if as_json:
        print_json(removed)
        return
    also = f" {removed['changed']} held recipients are released." if release else " What it held stays held."
    click.echo(f"Done: rule {number} is gone.{also}")


@click.command("pause")
@click.argument("domain", required=False, default="")
@click.option("--reason", default="", help="What whoever looks at it later is told.")
@click.option("--list", "listing", is_flag=True, help="Tell what is paused.")
@json_option
@click.pass_obj
def pause(config_file: str | None, domain: str, reason: str, listing: bool, as_json: bool) -> None:
    """Deliver nothing to DOMAIN, or nothing at all; mail is still taken in."""
    if listing:
        _list_pauses(config_file, as_json)
        return
    made = connection.call(config_file, "queue.pause", domain=domain, reason=reason)
    if as_json:
        print_json(made)
        return
    what = f"Delivery to {clean(made['domain'])}" if made["domain"] else "All delivery"
    click.echo(
        f"Done: {what} is paused. What is under way is finished; mailbox queue resume {domain}".rstrip() + " ends it."
    )


def _list_pauses(config_file: str | None, as_json: bool) -> None:
    found = connection.call(config_file, "queue.pauses")
    if as_json:
        print_json(found)
        return
    print_table(
        ["DOMAIN", "SINCE", "REASON"],
        [(each["domain"] or "(the whole queue)", time(each["made_at"]), each["reason"]) for each in found["pauses"]],
        "Nothing is paused.",
    )


@click.command("resume")
@click.argument("domain", required=False, default="")
@json_option
@click.pass_obj
def resume(config_file: str | None, domain: str, as_json: bool) -> None:
    """Deliver to DOMAIN again, or end the pause of the whole queue."""
    ended = connection.call(config_file, "queue.resume", domain=domain)
    if as_json:
        print_json(ended)
        return
    what = f"Mail to {clean(ended['domain'])}" if ended["domain"] else "Mail"
    click.echo(f"Done: {what} is delivered again.")


COMMANDS = (rule, pause, resume)
