"""`mailbox report`: list, show, summary, sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.output import json_option, print_fields, print_json, print_table, time
from mailbox_app.errors import ControlError
from mailbox_app.proto.plain_text import clean

_domain = click.option("--domain", default="", metavar="DOMAIN", help="Only about this domain.")
_since = click.option(
    "--since", "days", default=30, type=click.IntRange(1, 3650), metavar="DAYS", help="The last so many days (30)."
)


@click.group("report")
def command() -> None:
    """What other servers report about mail in your domains' names, and what this one told them."""


@command.command("list")
@_domain
@_since
@json_option
@click.pass_obj
def list_reports(config_file: str | None, domain: str, days: int, as_json: bool) -> None:
    """Reports that others sent, latest first."""
    with connection.connect(config_file) as client:
        found = connection.every(client, "report.list", "reports", domain=domain, days=days)
    if as_json:
        print_json(found)
        return
    print_table(
        ["NUMBER", "KIND", "DOMAIN", "REPORTER", "FROM", "UNTIL", "MESSAGES", "PASSED", "SENDER PROVEN"],
        [
            (
                each["report_no"],
                each["kind"],
                each["domain"],
                each["organization"],
                time(each["begin_at"]),
                time(each["end_at"]),
                each["messages"],
                each["passed"],
                "yes" if each["proven"] else "no",
            )
            for each in found["reports"]
        ],
        "No reports: others send them once your domain's DMARC record has rua= (mailbox domain dns).",
    )


@command.command("show")
@click.argument("number", type=click.IntRange(1))
@json_option
@click.pass_obj
def show(config_file: str | None, number: int, as_json: bool) -> None:
    """One report, by the number of the list."""
    with connection.connect(config_file) as client:
        try:
            found: dict[str, Any] = client.call("report.show", {"report_no": number})
        except ControlError as error:
            if error.code != "report.unknown":
                raise
            tls = client.call("report.show_tls", {"report_no": number})
            print_json(tls) if as_json else _print_tls(tls)
            return
    if as_json:
        print_json(found)
        return
    report, policy = found["report"], found["policy"]
    print_fields(
        [
            ("domain", report["domain"]),
            ("reporter", f"{report['organization']} {found['email']}".strip()),
            ("contact", found["contact"]),
            ("report id", report["report_id"]),
            ("period", f"{time(report['begin_at'])} to {time(report['end_at'])}"),
            ("sent by", f"{report['sender']} ({'proven' if report['proven'] else 'not proven'})"),
            ("policy", f"p={policy['policy']} sp={policy['subdomain_policy']}" + (" t=y" if policy["testing"] else "")),
            ("messages", f"{report['messages']}, {report['passed']} passed"),
            *(("told", error) for error in found["errors"]),
        ]
    )
    click.echo("")
    print_table(
        ["SOURCE", "MESSAGES", "TREATED", "DKIM", "SPF", "FROM", "ENVELOPE", "SIGNED BY", "WHY"],
        [
            (
                row["source_ip"],
                row["count"],
                row["disposition"],
                row["dkim"],
                row["spf"],
                row["header_from"],
                row["envelope_from"],
                ", ".join(f"{each['domain']} {each['result']}" for each in row["signatures"][:3]),
                ", ".join(row["reasons"]),
            )
            for row in found["rows"]
        ],
        "It has no rows.",
    )
    if found["row_count"] > len(found["rows"]):
        click.echo(f"{found['row_count'] - len(found['rows'])} smaller rows are not shown.")


def _print_tls(found: Mapping[str, Any]) -> None:
    report = found["report"]
    print_fields(
        [
            ("kind", "TLS: encryption of mail to this domain"),
            ("domain", report["domain"]),
            ("reporter", report["organization"]),
            ("contact", found["contact"]),
            ("report id", report["report_id"]),
            ("period", f"{time(report['begin_at'])} to {time(report['end_at'])}"),
            ("sent by", f"{report['sender']} ({'proven' if report['proven'] else 'not proven'})"),
            ("sessions", f"{report['messages']}, {report['passed']} encrypted as they should be"),
        ]
    )
    for policy in found["policies"]:
        about = f" ({'; '.join(policy['strings'][:6])})" if policy["strings"] else ""
        click.echo(
            clean(
                f"\npolicy {policy['kind']} of {policy['domain']}{about}: {policy['succeeded']} ok, {policy['failed']} failed"
            )
        )
        if policy["failures"]:
            print_table(
                ["RESULT", "SESSIONS", "HOST", "ADDRESS", "FROM", "WHY"],
                [
                    (
                        each["result"],
                        each["count"],
                        each["mx_host"],
                        each["receiving_ip"],
                        each["sending_ip"],
                        each["reason"],
                    )
                    for each in policy["failures"]
                ],
                "",
            )


@command.command("summary")
@_domain
@_since
@click.option("--unproven", is_flag=True, help="Count reports, too, whose sender nothing proves.")
@json_option
@click.pass_obj
def summary(config_file: str | None, domain: str, days: int, *, unproven: bool, as_json: bool) -> None:
    """Who sends in your domains' names, whether it passes, and what to do about what does not."""
    found: dict[str, Any] = connection.call(config_file, "report.summary", domain=domain, days=days, unproven=unproven)
    if as_json:
        print_json(found)
        return
    about = found["domain"] or "all domains"
    click.echo(
        clean(
            f"{about}, {days} days: {_count(found['messages'], 'message')} in {_count(found['reports'], 'report')} of"
            f" {_count(found['organizations'], 'reporter')}, {found['passed']} passed."
        )
    )
    if not found["sources"]:
        return
    print_table(
        ["SOURCE", "MESSAGES", "PASSED", "FAILED", "JUNK", "REFUSED", "FROM"],
        [
            (
                each["source_ip"],
                each["messages"],
                each["passed"],
                each["failed"],
                each["quarantined"],
                each["rejected"],
                each["header_from"],
            )
            for each in found["sources"]
        ],
        "",
    )
    failing = [each for each in found["sources"] if each["failed"]]
    for each in sorted(failing, key=lambda one: -int(one["failed"]))[:20]:
        click.echo(clean(f"\n{each['source_ip']}: {each['failed']} failed. {each['advice']}".lstrip("\n")))


@command.command("sent")
@_domain
@_since
@json_option
@click.pass_obj
def sent(config_file: str | None, domain: str, days: int, as_json: bool) -> None:
    """Reports this server sent, to whom, and which it did not send and why."""
    found: dict[str, Any] = connection.call(config_file, "report.sent", domain=domain, days=days)
    if as_json:
        print_json(found)
        return
    print_table(
        ["KIND", "DOMAIN", "DAY", "TO", "AT", "MESSAGES", "OUTCOME"],
        [
            (
                each["kind"],
                each["domain"],
                time(each["begin_at"])[:10],
                each["address"],
                time(each["at"]),
                each["messages"],
                each["outcome"],
            )
            for each in found["sent"]
        ],
        "None was sent.",
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
