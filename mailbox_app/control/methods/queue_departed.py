"""What became of a message that has left the queue, in words for an operator who asks for it by its queue id.

The decision journal knows; it is written half a second late, so it is brought up to date first. It forgets after some
weeks: then there is only the queue's own answer.
"""

from __future__ import annotations

from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods.queue_rows import duration
from mailbox_app.errors import QueueError
from mailbox_app.ids import QueueId
from mailbox_app.journal.decisions import Decision
from mailbox_app.proto.plain_text import clean

_TOLD = 3
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


def _sentence(decision: Decision, age_seconds: float) -> str:
    event = decision.event
    recipients = clean(", ".join(event.recipients[:2]))
    if len(event.recipients) > 2:
        recipients += f" and {len(event.recipients) - 2} more"
    what = event.reason if event.reason in {"returned", "dropped"} else ""
    verb = f"{what} for" if what else _DONE[event.verb]
    answer = "" if what else clean(f"{event.code or ''} {event.text}".strip(), 160)
    return f"{verb} {recipients} {duration(age_seconds)} ago" + (f" ({answer})" if answer else "")
