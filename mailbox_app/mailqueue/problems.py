"""What an operator should know of the queue, as sentences: for the console's list of things to do and for the health page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from mailbox_app.mailqueue.model import Pause, QueueStats

_OLD = timedelta(days=1)
"""Retries are hours apart by then: what waits longer mostly waits for somebody to look."""

Weight = Literal["BAD!", "WARN", "info"]


def queue_problems(stats: QueueStats, pauses: Sequence[Pause], now: datetime) -> Sequence[tuple[Weight, str]]:
    """(weight, sentence), the worst first."""
    found: list[tuple[Weight, str]] = []
    is_paused = any(not each.destination for each in pauses)
    if is_paused:
        found.append(("BAD!", "All delivery is paused, mail only waits: mailbox queue resume"))
    if stats.quarantined:
        one = "message recipient waits" if stats.quarantined == 1 else "message recipients wait"
        found.append(("WARN", f"{stats.quarantined} {one} in quarantine, unreadable: mailbox queue quarantine"))
    if stats.late and not is_paused:
        one = "recipient is" if stats.late == 1 else "recipients are"
        found.append(("WARN", f"{stats.late} queued {one} late"))
    if stats.oldest_at is not None and now - stats.oldest_at > _OLD:
        found.append(("WARN", f"The oldest message has been waiting for {_days(now - stats.oldest_at)}"))
    if domains := [each.destination for each in pauses if each.destination]:
        more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
        found.append(("WARN", f"Delivery to {domains[0]}{more} is paused"))
    if stats.held:
        one = "recipient is" if stats.held == 1 else "recipients are"
        found.append(("info", f"{stats.held} queued {one} held until somebody releases them"))
    return found


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"
