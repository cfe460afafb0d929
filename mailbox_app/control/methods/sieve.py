"""Methods `sieve.*`: the filter scripts of accounts: kept, checked, tried out, and run over a mailbox on demand."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from mailbox_app.accounts.model import Account
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.user import OfDomain, UserAddress
from mailbox_app.control.schema import Call, Method, Params
from mailbox_app.delivery import away
from mailbox_app.delivery.filter_context import FilteredMessage
from mailbox_app.delivery.filter_plan import Plan, sentences
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.delivery.refiltering import Refilter
from mailbox_app.errors import ControlError
from mailbox_app.ids import AccountRef, Uid
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.proto.sieve.script import compile_script
from mailbox_app.store.scripts import Scripts

_BATCH = 50
_MAX_LINES = 1_000
Source = Annotated[str, Meta(max_length=600_000)]


class ScriptName(Params):
    """A script of an account."""

    address: str
    name: str


class NewScript(ScriptName, kw_only=True):
    """A script and what is in it."""

    source: Source
    activate: bool = False
    """From now on it runs for all mail that comes in."""


class NewName(ScriptName, kw_only=True):
    """What a script is to be called."""

    new_name: str


class ScriptSource(Params):
    """A script's text."""

    source: Source


class Trial(Params):
    """A script to try out on a message, as the account would run it; nothing is changed."""

    address: str
    message: Annotated[str, Meta(max_length=900_000)]
    """The message in Base64; of a large one its beginning will do."""
    source: Source | None = None
    """A script's text; null: the named one, or without a name all that run for the account."""
    name: str = ""
    sender: str = ""
    """The envelope sender."""
    recipient: str = ""
    """The envelope recipient; empty: the account's address."""
    is_junk: bool = False


class Over(ScriptName, kw_only=True):
    """A script of the account and a mailbox to run it over."""

    mailbox: str
    dry_run: bool = False


class ScriptView(Struct):
    """One script."""

    name: str
    size_bytes: int
    active: bool


class ScriptsView(Struct):
    """An account's scripts; `failure`: what went wrong the last time since one was put or activated."""

    scripts: list[ScriptView]
    failure: str = ""


class ScriptText(Struct):
    """One script with its text."""

    name: str
    active: bool
    source: str


class Problem(Struct):
    """A mistake in a script; line and column count from 1."""

    line: int
    column: int
    message: str


class Checked(Struct):
    """What is wrong with a script; nothing: it may be put. `requires`: the extensions it names."""

    problems: list[Problem]
    requires: list[str]


class Tried(Struct):
    """What a script would do: each step it took and the actions that follow, in sentences."""

    steps: list[str]
    actions: list[str]
    notes: list[str]


class Line(Struct):
    """What became of one message."""

    uid: int
    subject: str
    act: str
    targets: list[str]
    notes: list[str]


class Ran(Struct):
    """Counts by act (kept, moved, copied, marked, discarded), and the first messages that did not just stay."""

    messages: int
    acts: dict[str, int]
    lines: list[Line] = field(default_factory=list)


class NewAway(Params):
    """An out-of-office answer; days without a date are open ends."""

    address: str
    text: Annotated[str, Meta(min_length=1, max_length=away.MAX_TEXT)]
    subject: Annotated[str, Meta(max_length=away.MAX_SUBJECT)] = ""
    first_day: date | None = None
    last_day: date | None = None
    every_days: Annotated[int, Meta(ge=1, le=365)] = 7
    """The same person hears it again after so many days."""


class AwayView(Struct):
    """One account's out-of-office answer. `is_on`: today is one of its days."""

    address: str
    text: str
    subject: str
    first_day: date | None
    last_day: date | None
    every_days: int
    is_on: bool


class AwayViews(Struct):
    """Accounts with an out-of-office answer, by address."""

    away: list[AwayView]


async def list_all(context: ControlContext, _call: Call, params: UserAddress) -> ScriptsView:
    """An account's scripts."""
    return await context.offload.run(_listed, context, params.address)


async def show(context: ControlContext, _call: Call, params: ScriptName) -> ScriptText:
    """A script's text."""

    def run() -> ScriptText:
        ref = context.directory.existing(params.address).ref
        source = context.filters.scripts.get(ref, params.name).decode("utf-8", "replace")
        active = context.filters.scripts.active(ref)
        return ScriptText(clean(params.name), active is not None and active.name == params.name, source)

    return await context.offload.run(run)


async def put(context: ControlContext, call: Call, params: NewScript) -> ScriptsView:
    """Keep a script; one that is not valid is refused."""
    call.object = params.address

    def run() -> ScriptsView:
        account = context.directory.existing(params.address)
        compile_script(params.source, context.filters.limits)
        call.before = _listed(context, account.address)
        context.filters.scripts.put(account.ref, params.name, params.source.encode("utf-8", "surrogatepass"))
        if params.activate:
            context.filters.scripts.activate(account.ref, params.name)
        return _listed(context, account.address)

    return _changed(call, await context.offload.run(run), f"script {clean(params.name)}")


async def activate(context: ControlContext, call: Call, params: ScriptName) -> ScriptsView:
    """Let a script run; with an empty name none does."""
    return await _change(context, call, params, lambda scripts, ref: scripts.activate(ref, params.name))


async def delete(context: ControlContext, call: Call, params: ScriptName) -> ScriptsView:
    """Remove a script that does not run."""
    return await _change(context, call, params, lambda scripts, ref: scripts.delete(ref, params.name))


async def rename(context: ControlContext, call: Call, params: NewName) -> ScriptsView:
    """Call a script something else; an active one stays active."""
    return await _change(context, call, params, lambda scripts, ref: scripts.rename(ref, params.name, params.new_name))


async def check(context: ControlContext, _call: Call, params: ScriptSource) -> Checked:
    """Read a script and tell its mistakes."""

    def run() -> Checked:
        try:
            script = compile_script(params.source, context.filters.limits)
        except SieveError as error:
            return Checked([Problem(each.line, each.column, clean(each.message)) for each in error.problems], [])
        return Checked([], sorted(script.capabilities))

    return await context.offload.run(run)


async def test(context: ControlContext, _call: Call, params: Trial) -> Tried:
    """Run scripts on a message without doing what they say."""
    try:
        content = base64.b64decode(params.message, validate=True)
    except binascii.Error as error:
        raise ControlError("sieve.bad_message", "the message is not in Base64") from error

    def run() -> Tried:
        account = context.directory.existing(params.address)
        verdict = Verdict.JUNK if params.is_junk else Verdict.ACCEPT
        judgement = Judgement([Finding("test", "said so", verdict=verdict)])
        mail = Mail(Envelope(params.sender), (), b"", content, len(content), judgement)
        named = None
        if params.source is not None or params.name:
            source = None if params.source is None else params.source.encode("utf-8", "surrogatepass")
            named = context.filters.named(account, params.name or "test", source)
        recipient = Recipient(params.recipient or account.address)
        plan = context.filters.plan(mail, FilteredMessage.of(mail), account, recipient, only=named, dry=True)
        return _tried(plan)

    return await context.offload.run(run)


async def run_over(context: ControlContext, call: Call, params: Over) -> Ran:
    """Run one of the account's scripts over a mailbox."""
    call.object = params.address
    call.detail = f"script {clean(params.name)}, mailbox {clean(params.mailbox)}" + (", dry" if params.dry_run else "")

    def begin() -> tuple[Refilter, Sequence[Uid]]:
        account: Account = context.directory.existing(params.address)
        named = context.filters.named(account, params.name)
        refilter = Refilter(context.filters, context.store, account, params.mailbox, named)
        return refilter, refilter.uids()

    refilter, uids = await context.offload.run(begin)
    ran = Ran(0, {})
    for start in range(0, len(uids), _BATCH):
        batch = uids[start : start + _BATCH]
        for each in await context.offload.run(lambda: list(refilter.run(batch, dry=params.dry_run))):  # noqa: B023
            ran.messages += 1
            ran.acts[each.act] = ran.acts.get(each.act, 0) + 1
            if each.act != "kept" and len(ran.lines) < _MAX_LINES:
                targets, notes = [clean(name) for name in each.targets], [clean(note) for note in each.notes]
                ran.lines.append(Line(each.uid, clean(each.subject), each.act, targets, notes))
        await call.progress(min(start + _BATCH, len(uids)), len(uids), params.mailbox)
    call.after = {"messages": ran.messages, "acts": ran.acts}
    return ran


async def set_away(context: ControlContext, call: Call, params: NewAway) -> AwayView:
    """Answer whoever writes meanwhile."""
    call.object = params.address
    said = away.Away(
        text=params.text,
        subject=params.subject,
        first_day=params.first_day,
        last_day=params.last_day,
        every_days=params.every_days,
    )

    def run() -> AwayView:
        account = context.directory.existing(params.address)
        call.before = _away(context, account)
        context.filters.scripts.set_away(account.ref, away.compose(said))
        found = _away(context, account)
        assert found is not None
        return found

    call.after = view = await context.offload.run(run)
    return view


async def clear_away(context: ControlContext, call: Call, params: UserAddress) -> AwayViews:
    """No such answers any more."""
    call.object = params.address

    def run() -> AwayViews:
        account = context.directory.existing(params.address)
        call.before = _away(context, account)
        context.filters.scripts.set_away(account.ref, None)
        return AwayViews([])

    return await context.offload.run(run)


async def list_away(context: ControlContext, _call: Call, params: OfDomain) -> AwayViews:
    """Who has an out-of-office answer, or had one that is over."""

    def run() -> AwayViews:
        found = [_away(context, account) for account in context.directory.accounts(params.domain or None)]
        return AwayViews([view for view in found if view is not None])

    return await context.offload.run(run)


def _away(context: ControlContext, account: Account) -> AwayView | None:
    file = context.filters.scripts.away(account.ref)
    said = None if file is None else away.read(Path(file.path).read_bytes())
    if said is None:
        return None
    today = context.clock.now().astimezone().date()
    is_on = (said.first_day is None or said.first_day <= today) and (said.last_day is None or today <= said.last_day)
    return AwayView(
        account.address, said.text, clean(said.subject), said.first_day, said.last_day, said.every_days, is_on
    )


async def _change(
    context: ControlContext, call: Call, params: ScriptName, change: Callable[[Scripts, AccountRef], None]
) -> ScriptsView:
    call.object = params.address

    def run() -> ScriptsView:
        account = context.directory.existing(params.address)
        call.before = _listed(context, account.address)
        change(context.filters.scripts, account.ref)
        return _listed(context, account.address)

    return _changed(call, await context.offload.run(run), f"script {clean(params.name)}")


def _changed(call: Call, view: ScriptsView, detail: str) -> ScriptsView:
    call.after, call.detail = view, detail
    return view


def _listed(context: ControlContext, address: str) -> ScriptsView:
    ref = context.directory.existing(address).ref
    views = [ScriptView(clean(each.name), each.size_bytes, each.active) for each in context.filters.scripts.names(ref)]
    return ScriptsView(views, clean(context.filters.scripts.failure(ref)))


def _tried(plan: Plan) -> Tried:
    return Tried(
        [clean(step) for step in plan.steps],
        [clean(line) for line in sentences(plan)],
        [clean(note) for note in plan.notes],
    )


METHODS = (
    Method("sieve.list", UserAddress, ScriptsView, list_all, "An account's filter scripts."),
    Method("sieve.show", ScriptName, ScriptText, show, "A script's text."),
    Method("sieve.put", NewScript, ScriptsView, put, "Keep a script, and let it run.", changes=True),
    Method("sieve.activate", ScriptName, ScriptsView, activate, "Let a script run; empty: none.", changes=True),
    Method("sieve.delete", ScriptName, ScriptsView, delete, "Remove a script.", changes=True),
    Method("sieve.rename", NewName, ScriptsView, rename, "Call a script something else.", changes=True),
    Method("sieve.set_away", NewAway, AwayView, set_away, "Answer whoever writes meanwhile.", changes=True),
    Method("sieve.clear_away", UserAddress, AwayViews, clear_away, "No out-of-office answer.", changes=True),
    Method("sieve.away", OfDomain, AwayViews, list_away, "Who has an out-of-office answer."),
    Method("sieve.check", ScriptSource, Checked, check, "What is wrong with a script."),
    Method("sieve.test", Trial, Tried, test, "What a script would do with a message."),
    Method("sieve.run", Over, Ran, run_over, "Run a script over a mailbox.", changes=True),
)
