"""Counts of the queue for what must answer even while the queue cannot be reached: the status, and the console's first screen."""

from __future__ import annotations

from datetime import datetime

from mailbox_app.control.context import ControlContext
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.model import QueueStats


def queue_counts(context: ControlContext, now: datetime) -> QueueStats:
    """The counts; none while the Redis that holds the queue is away (`redis_up` tells) or refuses (a problem tells). Blocks."""
    try:
        return context.queue.stats(now)
    except MailboxError:
        if context.redis_up() is None:
            raise
        return QueueStats(0, 0, 0, 0, 0, 0, None)
