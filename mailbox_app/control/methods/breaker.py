"""Methods `breaker.*`: hosts of other servers whose connections fail, so that mail for them waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from mailbox_app.control.context import ControlContext
from mailbox_app.control.schema import Call, Count, Method, Params
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.destinations.breaker import Breaker, Condition
from mailbox_app.mailqueue.destinations.breakers import sentence
from mailbox_app.mailqueue.model import QueueFilter, RecipientState
from mailbox_app.proto.plain_text import clean


class BreakerPage(Params):
    """One page of hosts."""

    offset: Count = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    text: Annotated[str, Meta(max_length=320)] = ""
    """Only those whose name or reason has it."""


class BreakerKey(Params):
    """Which host: its name, or name:port."""

    host: str


class BreakerView(Struct):
    """One host."""

    host: str
    """`name:port`."""
    state: str
    """closed, open or half-open."""
    failures: int
    """Connections in a row that failed."""
    successes: int
    """Probes in a row that succeeded; two close it."""
    reason: str
    """The last failure."""
    since: datetime | None
    """When this state began; None: closed all along."""
    opened_at: datetime | None
    """When it was opened first since it was last in order."""
    next_probe: datetime | None
    """When the next message may try; None: at once, or one is trying."""
    is_probing: bool
    """One message tries it right now."""
    waiting: list[str]
    """Destinations whose mail was passed over for it since the server started, some of them when there are many."""
    why: str
    """All of it in one sentence."""


class BreakerList(Struct):
    """One page, open ones first; `total` counts all."""

    breakers: list[BreakerView]
    total: int
    passed_over: int
    """How many are open or half-open."""


class BreakerDone(Struct):
    """The host afterwards, and what goes now."""

    breaker: BreakerView
    effect: str


async def list_all(context: ControlContext, _call: Call, params: BreakerPage) -> BreakerList:
    """Hosts that are passed over, and those that failed lately."""
    found = await context.breakers.all()
    if text := params.text.lower():
        found = [each for each in found if text in f"{each.host} {each.reason}".lower()]
    page = found[params.offset : params.offset + params.limit]
    passed_over = sum(each.condition is not Condition.CLOSED for each in found)
    return BreakerList([_view(context, each) for each in page], len(found), passed_over)


async def show(context: ControlContext, _call: Call, params: BreakerKey) -> BreakerView:
    """One host."""
    await context.breakers.all()
    return _view(context, _find(context, params.host))


async def probe(context: ControlContext, call: Call, params: BreakerKey) -> BreakerDone:
    """Let one message try a host now."""
    await context.breakers.all()
    found = _find(context, params.host)
    call.object = found.host
    if found.condition is Condition.CLOSED:
        raise MailboxError("breaker.closed", f"{found.host} is not passed over: mail for it goes as usual")
    call.before = _view(context, found)
    destinations = context.breakers.waiting(found.host)
    call.after = view = _view(context, await context.breakers.probe(found.host))
    for destination in destinations:
        where = QueueFilter(domain=destination, state=RecipientState.DEFERRED)
        for queue_id, address, _ in await context.offload.run(context.queue.matching, where, 1):
            one = QueueFilter(ids=(queue_id,), recipient=address)
            if await context.offload.run(context.queue.retry, one, context.clock.now()):
                return BreakerDone(view, f"One message tries it now: {queue_id} to {clean(address)}.")
    return BreakerDone(view, "The next message for it tries it; none is known to wait.")


async def reset(context: ControlContext, call: Call, params: BreakerKey) -> BreakerDone:
    """Forget a host's failures: all mail for it may go."""
    await context.breakers.all()
    found = _find(context, params.host)
    call.object = found.host
    destinations = context.breakers.waiting(found.host)
    call.before = _view(context, await context.breakers.reset(found.host))
    count = 0
    for destination in destinations:
        where = QueueFilter(domain=destination, state=RecipientState.DEFERRED)
        count += await context.offload.run(context.queue.retry, where, context.clock.now())
    call.after = view = _view(context, Breaker(found.host))
    if not count:
        return BreakerDone(view, "Mail for it goes as usual; none is known to wait.")
    return BreakerDone(view, f"Mail for it goes as usual; {count} waiting recipients are tried now.")


def _find(context: ControlContext, name: str) -> Breaker:
    found = context.breakers.find(name)
    if found is None:
        raise MailboxError("breaker.unknown", f"no failures of {clean(name, 300)} are known: mail for it goes as usual")
    return found


def _view(context: ControlContext, breaker: Breaker) -> BreakerView:
    return BreakerView(
        host=clean(breaker.host),
        state=breaker.condition.value,
        failures=breaker.failures,
        successes=breaker.successes,
        reason=clean(breaker.reason),
        since=_time(breaker.since_seconds),
        opened_at=_time(breaker.opened_seconds),
        next_probe=_time(breaker.probe_at_seconds) if breaker.condition is Condition.OPEN else None,
        is_probing=bool(breaker.probe),
        waiting=[clean(each) for each in context.breakers.waiting(breaker.host)],
        why=clean(sentence(breaker)),
    )


def _time(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds else None


METHODS = (
    Method("breaker.list", BreakerPage, BreakerList, list_all, "Hosts that are passed over."),
    Method("breaker.show", BreakerKey, BreakerView, show, "One host."),
    Method("breaker.probe", BreakerKey, BreakerDone, probe, "Let one message try a host.", changes=True),
    Method("breaker.reset", BreakerKey, BreakerDone, reset, "Forget a host's failures.", changes=True),
)
