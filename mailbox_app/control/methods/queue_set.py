"""The set of recipients an action means: chosen by filter or named one by one, and its hash.

Only recipients the action can touch are chosen: `release` means held and unreadable ones, `retry` deferred ones, and nothing
that is being delivered right now is returned or dropped (it is counted). What is held then waits if this attempt does not
deliver it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from mailbox_app.control.methods.queue_rows import Action, Plan, filter_of
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import QueueFilter, RecipientState

_Row = tuple[QueueId, str, RecipientState]
_MAX_CHOSEN = 100_000
"""One action at a time; more than that is done in parts."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Recipients as (queue id, address), sorted."""

    recipients: Sequence[tuple[str, str]]
    where: QueueFilter
    exact: bool
    """True: named one by one, so the filter says nothing."""
    wish: str = ""
    """What else the action says: the route, the reason."""
    busy: int = 0
    """Recipients that match and are left alone, because they are being delivered."""

    def by_message(self) -> Sequence[str]:
        """Queue ids, once each."""
        return list(dict.fromkeys(queue_id for queue_id, _ in self.recipients))

    def narrowed(self, ids: Sequence[QueueId]) -> QueueFilter:
        """The filter, for these messages only: what arrived since the plan is not touched."""
        return replace(self.where, ids=tuple(ids))

    def digest(self, action: Action) -> str:
        """The plan's hash: the action, what else was wished, and every recipient it means."""
        return hashlib.sha256(msgspec.json.encode((action, self.wish, self.recipients))).hexdigest()[:32]


def choose(queue: QueueBackend, plan: Plan) -> Chosen:
    """What the plan means now. Synchronous."""
    if plan.recipients is not None:
        return _chosen(plan, _named(queue, plan), QueueFilter(), exact=True)
    if plan.filter is None:
        raise QueueError("queue.no_filter", "say which recipients: a filter or a list")
    where = filter_of(plan.filter)
    rows = queue.matching(where, _MAX_CHOSEN + 1)
    if len(rows) > _MAX_CHOSEN:
        raise QueueError(
            "queue.too_many",
            f"more than {_MAX_CHOSEN} recipients match, which is what one action takes at most",
            fields={"remedy": "Narrow the filter."},
        )
    return _chosen(plan, rows, where, exact=False)


def _chosen(plan: Plan, rows: Sequence[_Row], where: QueueFilter, *, exact: bool) -> Chosen:
    action = plan.action
    recipients = [(str(queue_id), address) for queue_id, address, state in rows if _touches(action, state)]
    busy = sum(state is RecipientState.ACTIVE for _, _, state in rows) if action in ("bounce", "drop") else 0
    recipients.sort()  # the hash is over the set, however it was chosen
    return Chosen(recipients, where, exact, f"{plan.route}\n{plan.reason}", busy)


def _named(queue: QueueBackend, plan: Plan) -> Sequence[_Row]:
    wanted: dict[str, set[str]] = {}
    for queue_id, address in plan.recipients or ():
        wanted.setdefault(queue_id, set()).add(address)
    rows: list[_Row] = []
    for queue_id, addresses in wanted.items():
        try:
            message = queue.message(QueueId(queue_id))
        except QueueError as error:
            if error.temporary:
                raise
            continue  # it has left the queue meanwhile; the hash tells the operator
        rows += [(row.queue_id, row.address, row.state) for row in message.recipients if row.address in addresses]
    return rows


def _touches(action: Action, state: RecipientState) -> bool:
    match action:
        case "retry":
            return state is RecipientState.DEFERRED
        case "hold":
            return state in (RecipientState.DEFERRED, RecipientState.ACTIVE)
        case "release":
            return state in (RecipientState.HELD, RecipientState.QUARANTINED)
        case "route":
            return True
        case "bounce" | "drop":
            return state is not RecipientState.ACTIVE
