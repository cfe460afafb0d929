"""Methods `trace.*`: why a message went where it went, and all that happened to it since."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import astuple

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import ControlError
from mailbox_app.journal.decisions import Decision
from mailbox_app.journal.explanations import Copy, Explanation, ExplanationFilter, Outcome, Said
from mailbox_app.proto.plain_text import clean

_MAX_EXPLANATIONS = 50
_MAX_IDS = 100
_MOST_COUNTED = 10_000
_PROBLEMS: Sequence[Outcome] = ("deferred", "refused")


class Identifier(Params):
    """Which message: its trace id, queue id, session id or Message-ID (with or without its angle brackets)."""

    id: Annotated[str, Meta(min_length=1, max_length=1000)]


class Conditions(Params):
    """Which records; all given conditions hold."""

    words: Annotated[list[Annotated[str, Meta(min_length=1, max_length=1000)]], Meta(max_length=10)] = field(
        default_factory=list
    )
    """Each an address, an `@domain`, a client's address, an id or a Message-ID."""
    since_seconds: Annotated[float, Meta(ge=0, le=3e9)] | None = None
    """Only records of the last so many seconds."""
    until_seconds: Annotated[float, Meta(ge=0, le=3e9)] | None = None
    """Only records older than so many seconds."""
    outcome: Literal["accepted", "junk", "deferred", "refused"] | None = None
    problems: bool = False
    """Only what was deferred or refused."""


class Which(Conditions):
    """A page of them, newest first."""

    before_no: Count | None = None
    """Only records before this number: the next page."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    count: bool = False
    """Count all that fit, too."""


class Row(Struct):
    """One record in short."""

    no: int
    at: datetime
    outcome: str
    trace_id: str
    session_id: str
    remote: str
    sender: str
    recipients: list[str]
    message_id: str
    subject: str
    score: float
    code: int
    text: str
    reason: str
    """The weightiest thing that was said."""


class Rows(Struct):
    """One page."""

    rows: list[Row]
    total: int | None = None
    """How many fit in all, when asked for; with conditions counted up to 10,000."""


class LogState(Struct):
    """The topic `log`: numbers of the newest record, and of the newest that fits."""

    last_no: int
    newest_no: int


class SaidView(Said, frozen=True, omit_defaults=False):
    """What one check said; every field is told, empty ones too."""


class CopyView(Copy, frozen=True, omit_defaults=False):
    """What became of one recipient's copy; every field is told, empty ones too."""


class Why(Struct):
    """One record whole."""

    no: int
    at: datetime
    outcome: str
    stage: str
    trace_id: str
    session_id: str
    service: str
    remote: str
    remote_name: str
    account: str
    helo: str
    tls: str
    sender: str
    recipients: list[str]
    message_id: str
    subject: str
    size_bytes: int
    code: int
    text: str
    authentication: str
    score: float
    junk_score: float
    reject_score: float
    findings: list[SaidView]
    copies: list[CopyView]
    queue_ids: list[str]
    duration_seconds: float


class Event(Struct):
    """One line of the mail log."""

    at: datetime
    verb: str
    direction: str
    queue_id: str
    recipients: list[str]
    remote: str
    tls: str
    code: int
    text: str
    reason: str
    duration_seconds: float


class Trace(Struct):
    """All that is known of a message, oldest first."""

    decisions: list[Why]
    events: list[Event]


async def show(context: ControlContext, _call: Call, params: Identifier) -> Trace:
    """Everything about one message."""
    identifier = params.id.strip()
    found, events = await context.offload.run(_gather, context, identifier)
    if not found and not events and "@" in identifier and not identifier.startswith("<"):
        found, events = await context.offload.run(_gather, context, f"<{identifier}>")
    if not found and not events:
        raise ControlError("trace.nothing", f"nothing is known of {clean(identifier, 200)!r}")
    whys = [_why(no, record) for no, record in sorted(found, key=lambda row: (row[1].at_millis, row[0]))]
    return Trace(whys, [_event(each) for each in events])


async def search(context: ControlContext, _call: Call, params: Which) -> Rows:
    """One page of records."""
    wheres = _wheres(context, params, params.before_no)
    found, total = await context.offload.run(_page, context, wheres, params.limit, params.count)
    return Rows([_row(no, record) for no, record in found], total)


async def log(context: ControlContext, params: Conditions) -> LogState:
    """Whether there is anything new; costs a look at the newest record while there is not."""
    wheres = _wheres(context, params, None)
    return await context.offload.run(_newest, context, wheres)


def _wheres(context: ControlContext, params: Conditions, before_no: int | None) -> Sequence[ExplanationFilter]:
    """One filter, or one for each outcome that is meant; their records are together what was asked for."""
    now = context.clock.now()

    def ago(seconds: float | None) -> datetime | None:
        return None if seconds is None else now - timedelta(seconds=seconds)

    outcomes: Sequence[Outcome | None] = [params.outcome]
    if params.problems:
        outcomes = [each for each in _PROBLEMS if params.outcome in (None, each)]
    since_at, until_at = ago(params.since_seconds), ago(params.until_seconds)
    return [ExplanationFilter(params.words, since_at, until_at, outcome, before_no) for outcome in outcomes]


def _page(
    context: ControlContext, wheres: Sequence[ExplanationFilter], limit: int, wants_count: bool
) -> tuple[Sequence[tuple[int, Explanation]], int | None]:
    context.decisions.flush()
    found = [row for where in wheres for row in context.decisions.explanations(where, limit)]
    if len(wheres) > 1:
        found = sorted(found, key=lambda row: row[0], reverse=True)[:limit]
    if not wants_count:
        return found, None
    return found, sum(context.decisions.count_explanations(where, _MOST_COUNTED) for where in wheres)


def _newest(context: ControlContext, wheres: Sequence[ExplanationFilter]) -> LogState:
    decisions = context.decisions
    last_no = decisions.last_explanation_no()
    if any(where.words or where.outcome or where.since_at or where.until_at for where in wheres):
        return LogState(last_no, max((no for where in wheres for no, _ in decisions.explanations(where, 1)), default=0))
    return LogState(last_no, last_no)


def _search(context: ControlContext, where: ExplanationFilter, limit: int) -> list[tuple[int, Explanation]]:
    context.decisions.flush()
    return list(context.decisions.explanations(where, limit))


def _gather(context: ControlContext, identifier: str) -> tuple[list[tuple[int, Explanation]], list[Decision]]:
    """The records of an id, and the events of every id they name."""
    found = _search(context, ExplanationFilter([identifier]), _MAX_EXPLANATIONS)
    ids = {identifier: None}
    for _, record in found:
        for each in (record.trace_id, *record.queue_ids):
            if each:
                ids[each] = None
    events: dict[int, Decision] = {}
    for each in list(ids)[:_MAX_IDS]:
        for decision in context.decisions.search(each):
            events[decision.no] = decision
    return found, [events[no] for no in sorted(events)]


def _row(no: int, record: Explanation) -> Row:
    return Row(
        no, record.at, record.outcome, record.trace_id, record.session_id, record.remote, record.sender, list(record.recipients),
        record.message_id, record.subject, record.score, record.code, record.text, _weightiest(record),
    )  # fmt: skip


_STATUS = re.compile(r"[245]\.\d+\.\d+ ")


def _weightiest(record: Explanation) -> str:
    """A verdict before a score, a high score before a low one; what the policy did not decide is told in the reply's words."""
    said = [each for each in record.findings if not each.advisory]
    order = ("accept", "junk", "defer", "reject")
    if record.code >= 400:
        by_score = 0 < record.reject_score <= record.score
        if not by_score and all(order.index(each.verdict) < order.index("defer") for each in said):
            return record.copies[0].reason if record.copies else _STATUS.sub("", record.text)
    if not said:
        return record.copies[0].reason if record.copies else ""
    return max(said, key=lambda each: (order.index(each.verdict), abs(each.score))).reason


def _why(no: int, record: Explanation) -> Why:
    return Why(
        no, record.at, record.outcome, record.stage, record.trace_id, record.session_id, record.service, record.remote,
        record.remote_name, record.account, record.helo, record.tls, record.sender, list(record.recipients),
        record.message_id, record.subject, record.size_bytes, record.code, record.text, record.authentication, record.score,
        record.junk_score, record.reject_score, [SaidView(*astuple(each)) for each in record.findings],
        [CopyView(*astuple(each)) for each in record.copies], list(record.queue_ids),
        record.duration_seconds,
    )  # fmt: skip


def _event(decision: Decision) -> Event:
    event = decision.event
    return Event(
        decision.at, event.verb, event.direction, event.queue_id, [clean(each, 320) for each in event.recipients],
        clean(event.remote), event.tls, event.code, clean(event.text), event.reason, event.duration_seconds,
    )  # fmt: skip


METHODS = (
    Method("trace.show", Identifier, Trace, show, "Why a message went where it went, and what happened to it since."),
    Method("trace.search", Which, Rows, search, "Messages that came to our door, newest first."),
)
