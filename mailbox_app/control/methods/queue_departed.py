"""What became of a message that has left the queue, in words for an operator who asks for it by its queue id.

The queue's history knows for 30 days. What it has forgotten, or never had, the decision journal may still know; that one is
written half a second late, so it is brought up to date first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.spans import duration
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.journal.decisions import Decision
from mailbox_app.mailqueue.model import Fate, Finished
from mailbox_app.proto.plain_text import clean

RETURNED = "returned by the administrator"
DROPPED = "dropped by the administrator"
_TOLD = 3
_ENDS = {
    Fate.DELIVERED: "delivered to", Fate.FAILED: "given up for", Fate.LOOP: "given up because it goes round in circles for",
}  # fmt: skip
_END_WORDS = {RETURNED: "returned", DROPPED: "dropped"}
_DONE = {"delivered": "delivered to", "failed": "given up for"}


def departed(context: ControlContext, queue_id: QueueId) -> QueueError | None:
    """The error that tells how the message left; None when nothing is known of it. Blocking: call it in a thread."""
    context.decisions.flush()
    ends = [each for each in context.decisions.search(queue_id) if each.event.queue_id == queue_id]
    ends = [each for each in ends if each.event.verb in _DONE]
    if not ends:
        return None
    now = context.clock.now()
    told = [_sentence(each, (now - each.at).total_seconds()) for each in ends[-_TOLD:]]
    if len(ends) > _TOLD:
        told.insert(0, f"{len(ends) - _TOLD} more before these")
    return QueueError("queue.no_such_id", f"the message has left the queue: {'; '.join(told)}")


def story(finished: Sequence[Finished], now: datetime) -> str:
    """One sentence on a message of the history, the latest end first."""
    told = []
    for row in finished[:_TOLD]:
        verb = f"{_END_WORDS[row.text]} for" if row.text in _END_WORDS else _ENDS.get(row.fate, "ended for")
        answer = "" if row.text in _END_WORDS else clean(_answer(row.code, row.text), 160)
        at = f" by {clean(row.host)}" if row.host and row.fate is Fate.DELIVERED else ""
        age = duration((now - row.finished_at).total_seconds())
        told.append(f"{verb} {clean(row.address)}{at} {age} ago" + (f" ({answer})" if answer else ""))
    if len(finished) > _TOLD:
        told.append(f"{len(finished) - _TOLD} more recipients ended before")
    return f"It has left the queue: {'; '.join(told)}."


def _answer(code: int, text: str) -> str:
    return text if not code or text.startswith(str(code)) else f"{code} {text}".strip()


def _sentence(decision: Decision, age_seconds: float) -> str:
    event = decision.event
    recipients = clean(", ".join(event.recipients[:2]))
    if len(event.recipients) > 2:
        recipients += f" and {len(event.recipients) - 2} more"
    what = event.reason if event.reason in {"returned", "dropped"} else ""
    verb = f"{what} for" if what else _DONE[event.verb]
    answer = "" if what else clean(f"{event.code or ''} {event.text}".strip(), 160)
    return f"{verb} {recipients} {duration(age_seconds)} ago" + (f" ({answer})" if answer else "")
