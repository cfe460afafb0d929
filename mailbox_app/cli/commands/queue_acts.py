"""`mailbox queue retry|hold|release|bounce|drop|route`: change the fate of waiting mail, by plan and apply."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import click

from mailbox_app.cli import connection
from mailbox_app.cli.commands.queue_filters import filtered, wire_filter
from mailbox_app.cli.output import print_json
from mailbox_app.errors import MailboxError
from mailbox_app.proto.plain_text import clean

_ASKED = frozenset({"bounce", "drop"})


@dataclass(slots=True)
class Wish:
    """What is to be done with which mail, and how it is asked."""

    action: str
    ids: tuple[str, ...]
    everything: bool
    dry_run: bool
    yes: bool
    as_json: bool
    filters: dict[str, Any]
    more: dict[str, object] = field(default_factory=dict)
    """Parameters of the action itself: the route, the reason."""


def act(config_file: str | None, wish: Wish) -> None:
    """Plan, ask when nothing can be taken back, apply, tell."""
    where = wire_filter(wish.ids, **wish.filters)
    if not (wish.everything or any(where.values())):
        raise click.UsageError(
            "say which: queue ids, a filter (--from --to --submitter --domain --older-than --state --text), or --all"
        )
    params = {"action": wish.action, "filter": where, **wish.more}
    with connection.connect(config_file) as client:
        planned = client.call("queue.plan", params)
        if wish.ids and not planned["count"] and not planned["busy"]:
            raise MailboxError(
                "queue.unknown", "none of these messages is in the queue; mailbox queue history tells what has left it"
            )
        if wish.dry_run or not planned["count"]:
            _tell_plan(planned, wish)
            return
        if not wish.yes and wish.action in _ASKED and sys.stdin.isatty():
            click.confirm(f"{planned['effect']}. Really", abort=True, err=True)
        done = client.call("queue.apply", {**params, "plan": planned["plan"]})
    if wish.as_json:
        print_json({**done, "busy": planned["busy"]})
        return
    click.echo(f"Done: {done['effect']}.")
    _tell_busy(planned["busy"])


def _tell_plan(planned: dict[str, Any], wish: Wish) -> None:
    if wish.as_json:
        print_json({**planned, "done": 0})
        return
    if not wish.dry_run:
        if not planned["busy"]:
            click.echo("Nothing in the queue matches.")
        _tell_busy(planned["busy"])
        return
    click.echo(f"Would be: {planned['effect']}.")
    for each in planned["sample"]:
        click.echo(clean(f"  {each['id']}  {each['to']}"))
    if planned["count"] > len(planned["sample"]):
        click.echo(f"  and {planned['count'] - len(planned['sample'])} more")
    _tell_busy(planned["busy"])


def _tell_busy(count: int) -> None:
    if count:
        click.echo(f"{count} more match and are being delivered right now: wait a little and repeat, or hold them.")


_ASKING = (
    click.option("--all", "everything", is_flag=True, help="Everything that waits."),
    click.option("--dry-run", is_flag=True, help="Tell what would happen."),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--json", "as_json", is_flag=True, help="The answer as JSON."),
)


def _asking(function: Any) -> Any:
    for option in reversed(_ASKING):
        function = option(function)
    return function


def _action(name: str, text: str) -> click.Command:
    @click.command(name, help=text)
    @click.argument("ids", nargs=-1)
    @filtered
    @_asking
    @click.pass_obj
    def run(
        config_file: str | None,
        /,
        ids: tuple[str, ...],
        everything: bool,
        dry_run: bool,
        yes: bool,
        as_json: bool,
        **filters: Any,
    ) -> None:
        act(config_file, Wish(name, ids, everything, dry_run, yes, as_json, filters))

    return run


@click.command("hold")
@click.argument("ids", nargs=-1)
@filtered
@_asking
@click.option("--reason", default="", help="What whoever looks at it later is told.")
@click.option("--new", "new_too", is_flag=True, help="New mail of this --from, --to, --submitter or --domain too.")
@click.pass_obj
def hold(
    config_file: str | None,
    /,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    reason: str,
    new_too: bool,
    **filters: Any,
) -> None:
    """Keep until released; with --new a hold rule is made in the same step."""
    if new_too:
        _hold_new(config_file, ids or everything, dry_run, as_json, reason, filters)
        return
    act(config_file, Wish("hold", ids, everything, dry_run, yes, as_json, filters, {"reason": reason}))


def _hold_new(
    config_file: str | None, narrowed: object, dry_run: bool, as_json: bool, reason: str, filters: dict[str, Any]
) -> None:
    rule = {"from": filters["sender"], "to": filters["recipient"], "submitter": filters["submitter"]}
    if filters["domain"] and not rule["to"]:
        rule["to"] = "@" + filters["domain"].removeprefix("@")
        filters["domain"] = ""
    others = [filters[name] for name in ("domain", "older_than", "state", "text")]
    if narrowed or any(each not in (None, "") for each in others) or not any(rule.values()):
        raise click.UsageError("--new goes with --from, --to, --submitter or --domain, and with nothing else")
    if dry_run:
        act(config_file, Wish("hold", (), False, True, True, as_json, filters | {"recipient": rule["to"]}))
        return
    made = connection.call(config_file, "queue.add_rule", **rule, reason=reason, waiting=True)
    if as_json:
        print_json(made)
        return
    held = "1 recipient that waits is" if made["changed"] == 1 else f"{made['changed']} recipients that wait are"
    click.echo(f"Done: {held} held, and new mail is held by rule {made['number']}.")
    click.echo(f"mailbox queue rule remove {made['number']} --release ends it and lets the mail go.")


@click.command("route")
@click.argument("route", required=False, default="")
@click.argument("ids", nargs=-1)
@filtered
@_asking
@click.option("--clear", is_flag=True, help="By the configured route again; all arguments are queue ids.")
@click.pass_obj
def route(
    config_file: str | None,
    /,
    route: str,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    clear: bool,
    **filters: Any,
) -> None:
    """Send waiting mail by ROUTE instead of the configured one: ROUTE ID.., or ROUTE and a filter."""
    if clear:
        ids, route = (*((route,) if route else ()), *ids), ""
    elif not route:
        raise click.UsageError("say which route, or --clear")
    act(config_file, Wish("route", ids, everything, dry_run, yes, as_json, filters, {"route": route}))


COMMANDS = (
    _action("retry", "Try now."),
    hold,
    _action("release", "Release held or unreadable mail and try it now."),
    _action("bounce", "Return to the senders as undeliverable."),
    _action("drop", "Remove without telling anybody."),
    route,
)
