"""Methods `tls.*`: what other domains' encryption policies ask of mail to them, and which domains are excepted for a while."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Method, NoParams, Params
from mailbox_app.errors import MailboxError
from mailbox_app.outbound.tls.desk import DomainLook
from mailbox_app.outbound.tls.levels import DAYS
from mailbox_app.outbound.tls.memory import TlsException
from mailbox_app.proto.domain_names import a_labels
from mailbox_app.proto.plain_text import clean

_MAX_SECONDS = 366 * 86_400
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")


class DomainKey(Params):
    """Which domain."""

    domain: Annotated[str, Meta(min_length=1, max_length=253)]


class NewException(Params):
    """Whose DANE and MTA-STS do not hold mail up for a while, and why."""

    domain: Annotated[str, Meta(min_length=1, max_length=253)]
    seconds: Annotated[int, Meta(ge=1, le=_MAX_SECONDS)]
    """From now on; a year at most."""
    reason: Annotated[str, Meta(min_length=1, max_length=300)]
    allow_clear: bool = False
    """Also in clear where encryption fails."""


class ExceptionView(Struct):
    """One exception."""

    domain: str
    until: datetime
    made_at: datetime
    allow_clear: bool
    reason: str
    in_force: bool
    """False: it is over and counts no more."""


class ExceptionList(Struct):
    """All exceptions by domain."""

    exceptions: list[ExceptionView]


class StsView(Struct):
    """The MTA-STS policy that holds."""

    mode: str
    """enforce or testing."""
    hosts: list[str]
    """Names of mail servers; "*." in front stands for one label."""
    record_id: str
    fetched_at: datetime
    expires_at: datetime


class LevelView(Struct):
    """How well the domain has taken mail so far."""

    level: str
    """clear, encrypted, or verified: with a valid certificate."""
    days: int
    """On how many days it was encrypted, without a gap."""
    since: datetime | None
    is_expected: bool
    """Mail waits when no encryption is offered any more."""
    missing_since: datetime | None
    failing_since: datetime | None
    """Since when encryption is offered and fails."""
    failures: int
    failure: str


class HostView(Struct):
    """One mail server of the domain."""

    host: str
    sentence: str
    """What it must show, and whose wish that is."""
    is_usable: bool
    tlsa: list[str]


class PolicyView(Struct):
    """What binds mail to a domain."""

    domain: str
    dane: str
    """Whether DANE is used here at all, in one sentence."""
    sts: StsView | None
    sts_trouble: str
    """Why no newer policy could be had, "" when there is nothing amiss."""
    exception: ExceptionView | None
    level: LevelView
    hosts: list[HostView]
    trouble: str
    """Why there are no hosts."""


async def policy(context: ControlContext, _call: Call, params: DomainKey) -> PolicyView:
    """Look up what binds a domain now, as a delivery would."""
    desk = context.outbound_tls
    return _policy(context, await desk.look(_domain(params.domain)), await desk.dane())


async def list_exceptions(context: ControlContext, _call: Call, _params: NoParams) -> ExceptionList:
    """All exceptions, also those that are over."""
    return ExceptionList([_exception(context, one) for one in await context.outbound_tls.exceptions()])


async def add_exception(context: ControlContext, call: Call, params: NewException) -> ExceptionView:
    """For a while, the domain's DANE and MTA-STS do not hold mail up; it is still encrypted when that works."""
    call.object = domain = _domain(params.domain)
    before, row = await context.outbound_tls.except_domain(
        domain, params.seconds, clean(params.reason, 300), allows_clear=params.allow_clear
    )
    if before is not None:
        call.before = _exception(context, before)
    call.after = view = _exception(context, row)
    return view


async def remove_exception(context: ControlContext, call: Call, params: DomainKey) -> ExceptionView:
    """The domain's policies count again."""
    call.object = domain = _domain(params.domain)
    call.before = view = _exception(context, await context.outbound_tls.end_exception(domain))
    return view


def _domain(text: str) -> str:
    domain = a_labels(text.strip().rstrip("."))
    if domain is None or not _DOMAIN.fullmatch(domain):
        raise MailboxError("tls.invalid", f"{clean(text, 100)} is no domain")
    return domain


def _policy(context: ControlContext, look: DomainLook, dane: str) -> PolicyView:
    rules, found = look.rules, look.rules.sts
    sts = None
    if found.policy is not None:
        sts = StsView(
            str(found.policy.mode),
            list(found.policy.patterns),
            found.record_id,
            _time(found.fetched_at_seconds),
            _time(found.expires_at_seconds),
        )
    level = rules.remembered.level
    return PolicyView(
        rules.domain,
        dane,
        sts,
        clean(found.trouble.text) if found.trouble is not None else "",
        _exception(context, rules.remembered.exception) if rules.remembered.exception is not None else None,
        LevelView(
            level.level.name.lower(),
            level.days,
            _moment(level.since_seconds),
            level.days >= DAYS,
            _moment(level.missing_since_seconds),
            _moment(level.failing_since_seconds),
            level.failures,
            clean(level.failure),
        ),
        [
            HostView(one.host, clean(one.sentence), one.is_usable, [clean(text) for text in one.tlsa])
            for one in look.hosts
        ],
        clean(look.trouble),
    )


def _exception(context: ControlContext, row: TlsException) -> ExceptionView:
    return ExceptionView(
        row.domain,
        _time(row.until_seconds),
        _time(row.made_at_seconds),
        row.allows_clear,
        clean(row.reason),
        row.until_seconds > context.clock.epoch_seconds(),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _moment(seconds: float) -> datetime | None:
    return _time(seconds) if seconds else None


METHODS = (
    Method("tls.policy", DomainKey, PolicyView, policy, "What binds mail to a domain now, and why."),
    Method("tls.exceptions", NoParams, ExceptionList, list_exceptions, "Domains whose policies do not count for now."),
    Method("tls.except", NewException, ExceptionView, add_exception, "Set a domain's policies aside.", changes=True),
    Method("tls.end_exception", DomainKey, ExceptionView, remove_exception, "Let them count again.", changes=True),
)
