"""What the queue makes of a transport's outcomes: the next try, or the failure that a last deferral has become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueuedRecipient
from mailbox_app.mailqueue.schedule import LAST_TRY_BEFORE_EXPIRY, Schedule, is_last_chance

_POSTPONED = timedelta(minutes=5)
"""For what is not tried now, when nobody says for how long."""
_FAILURES = (Fate.FAILED, Fate.LOOP)


def planned(
    lease: Lease, outcomes: Sequence[Outcome], now: datetime, schedule: Schedule, chance: float
) -> tuple[Sequence[Outcome], datetime]:
    """The outcomes, with failures for those that wait when no try is left; and when the next try is.

    Nothing waits beyond its last chance, whatever the transport wishes.
    """
    recipients = {recipient.address: recipient for recipient in lease.message.recipients}
    expires_at = lease.message.expires_at
    last_at = expires_at - LAST_TRY_BEFORE_EXPIRY
    plan: list[Outcome] = []
    next_at = expires_at
    for outcome in outcomes:
        recipient = recipients[outcome.address]
        if outcome.fate is Fate.DEFERRED:
            at = schedule.next_attempt_at(recipient.attempts + 1, now, expires_at, chance)
            if at is None:
                plan.append(given_up(outcome, recipient.attempts + 1))
                continue
            next_at = min(next_at, at)
            if outcome.retry_at is not None:
                outcome = replace(outcome, retry_at=min(max(at, outcome.retry_at), last_at))
        elif outcome.fate is Fate.POSTPONED:
            if is_last_chance(now, expires_at):
                plan.append(given_up(outcome, recipient.attempts))
                continue
            outcome = replace(outcome, retry_at=min(outcome.retry_at or now + _POSTPONED, last_at))
        plan.append(outcome)
    return plan, next_at


def deferred(recipient: QueuedRecipient, text: str) -> Outcome:
    """No news of it: it waits as before, for this reason."""
    return Outcome(recipient.address, Fate.DEFERRED, recipient.last_code or 451, "4.3.0", text, recipient.last_host)


def given_up(outcome: Outcome, tries: int) -> Outcome:
    """The last deferral as the failure it has become."""
    last = f"; the last answer was: {outcome.text}" if outcome.text else ""
    text = f"delivery was given up after {tries} tries{last}"
    said = outcome.said or (f"{outcome.code} {outcome.text}" if outcome.host else "")
    return replace(outcome, fate=Fate.FAILED, enhanced="4.4.7", text=text[:512], said=said)


def unreported(outcome: Outcome) -> Outcome:
    """A failure that its sender could not be told about: it stays, where an operator sees it."""
    if outcome.fate not in _FAILURES:
        return outcome
    return replace(outcome, fate=Fate.DEFERRED, text=f"failed, and the report could not be made: {outcome.text}"[:512])
