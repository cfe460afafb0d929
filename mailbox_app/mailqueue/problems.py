"""What an operator should know of the queue, as sentences: for the console's list of things to do and for the health page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from mailbox_app.mailqueue.hold_rules import accounts_held
from mailbox_app.mailqueue.model import BRAKE, HoldRule, Pause, QueueStats
from mailbox_app.proto.plain_text import clean

_ACCOUNTS = 3
"""Told by name; the rest as a number."""
_OLD = timedelta(days=1)
"""Retries are hours apart by then: what waits longer mostly waits for somebody to look."""

Weight = Literal["BAD!", "WARN", "info"]


def queue_problems(
    stats: QueueStats, pauses: Sequence[Pause], now: datetime, rules: Sequence[HoldRule] = ()
) -> Sequence[tuple[Weight, str]]:
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
    found += _held_accounts(rules)
    if stats.held:
        one = "recipient is" if stats.held == 1 else "recipients are"
        found.append(("info", f"{stats.held} queued {one} held until somebody releases them"))
    return found


def _held_accounts(rules: Sequence[HoldRule]) -> Sequence[tuple[Weight, str]]:
    """Accounts of which all mail is held; who was braked waits for somebody to look."""
    found: list[tuple[Weight, str]] = []
    held = accounts_held(rules)
    for address, rule in held[:_ACCOUNTS]:
        because = rule.reason.replace(f"{BRAKE}: {address} ", "it ", 1)  # the address stands there already
        reason = f", {clean(because)}" if because else ""
        told = f"All mail of {clean(address)} is held{reason}: mailbox user resume {clean(address)}"
        found.append(("WARN" if rule.is_brake else "info", told))
    if len(held) > _ACCOUNTS:
        more = len(held) - _ACCOUNTS
        told = f"All mail of {more} more {'account' if more == 1 else 'accounts'} is held: mailbox user list"
        found.append(("WARN" if any(rule.is_brake for _, rule in held[_ACCOUNTS:]) else "info", told))
    return found


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days"
