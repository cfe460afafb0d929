"""`mailbox tls`: policy, exception."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_json, print_table, time
from mailbox_app.proto.plain_text import clean

_UNITS = {"h": 3600, "d": 86_400, "w": 604_800}


@click.group("tls")
def command() -> None:
    """Encryption on the way to other servers: what their domains ask for (DANE, MTA-STS), and exceptions."""


@command.command("policy")
@click.argument("domain")
@json_option
@click.pass_obj
def policy(config_file: str | None, domain: str, as_json: bool) -> None:
    """What binds mail to DOMAIN now, and why."""
    found = connection.call(config_file, "tls.policy", domain=domain)
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        click.echo(clean(line))


@command.group("exception")
def exception() -> None:
    """Domains whose DANE and MTA-STS do not hold mail up for a while."""


@exception.command("list")
@json_option
@click.pass_obj
def list_all(config_file: str | None, as_json: bool) -> None:
    """All exceptions, also those that are over."""
    found = connection.call(config_file, "tls.exceptions")
    if as_json:
        print_json(found)
        return
    print_table(
        ["DOMAIN", "UNTIL", "SINCE", "IN CLEAR", "WHY"],
        [
            (
                each["domain"],
                time(each["until"]) + ("" if each["in_force"] else " (over)"),
                time(each["made_at"]),
                "if TLS fails" if each["allow_clear"] else "no",
                each["reason"],
            )
            for each in found["exceptions"]
        ],
        "No domain is excepted.",
    )


@exception.command("add")
@click.argument("domain")
@click.option(
    "--until", required=True, metavar="WHEN", help="A day such as 2026-12-24, or a time from now: 12h, 7d, 2w."
)
@click.option("--reason", required=True, help="For whoever reads the list or the audit later.")
@click.option("--allow-clear", is_flag=True, help="Also send in clear where encryption fails.")
@click.pass_obj
def add(config_file: str | None, domain: str, until: str, reason: str, *, allow_clear: bool) -> None:
    """Do not let DOMAIN's policies hold mail up. It is still encrypted when that works; waiting mail goes at its next try."""
    made = connection.call(
        config_file,
        "tls.except",
        domain=domain,
        seconds=_seconds(until),
        reason=reason,
        allow_clear=allow_clear,
    )
    click.echo(f"The policies of {clean(made['domain'])} do not count until {time(made['until'])}.")


@exception.command("remove")
@click.argument("domain")
@click.pass_obj
def remove(config_file: str | None, domain: str) -> None:
    """Let DOMAIN's policies count again."""
    removed = connection.call(config_file, "tls.end_exception", domain=domain)
    click.echo(f"The policies of {clean(removed['domain'])} count again.")


def _seconds(until: str) -> int:
    if match := re.fullmatch(r"(\d{1,4})([hdw])", until):
        return int(match[1]) * _UNITS[match[2]]
    try:
        end = datetime.fromisoformat(until)
    except ValueError as error:
        raise click.BadParameter(
            "want a day like 2026-12-24 or a time from now like 7d", param_hint="--until"
        ) from error
    if len(until) == 10:  # the whole day still belongs to it
        end = end.replace(hour=23, minute=59, second=59)
    seconds = int(((end if end.tzinfo else end.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    if seconds <= 0:
        raise click.BadParameter("that is over already", param_hint="--until")
    return seconds


def _lines(found: dict[str, Any]) -> list[str]:
    sts, level, made = found["sts"], found["level"], found["exception"]
    lines = [f"{found['domain']}", found["dane"]]
    if made is not None:
        state = f"holds until {time(made['until'])}" if made["in_force"] else f"ended {time(made['until'])}"
        clear = ", also in clear where TLS fails" if made["allow_clear"] else ""
        lines.append(f"Exception: {state}{clear}: {made['reason']}")
    if sts is None:
        lines.append("MTA-STS: no policy.")
    else:
        lines.append(
            f"MTA-STS: {sts['mode']}, id {sts['record_id']}, fetched {time(sts['fetched_at'])},"
            f" holds until {time(sts['expires_at'])}; hosts: {', '.join(sts['hosts'])}"
        )
    if found["sts_trouble"]:
        lines.append(f"MTA-STS: {found['sts_trouble']}.")
    expected = "; mail waits if it stops" if level["is_expected"] else ""
    lines.append(f"Seen so far: {level['level']}, {level['days']} days in a row{expected}.")
    if level["missing_since"]:
        lines.append(f"No encryption offered since {time(level['missing_since'])}.")
    if level["failing_since"]:
        lines.append(f"Encryption fails since {time(level['failing_since'])}: {level['failure']}")
    for host in found["hosts"]:
        lines.append(f"  {host['host']}: {host['sentence']}")
        lines.extend(f"    TLSA {record}" for record in host["tlsa"])
    if found["trouble"]:
        lines.append(f"No hosts: {found['trouble']}.")
    return lines
