"""Which new mail is held from the start: the operators' rules, and what the sender's own case says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailbox_app.mailqueue.model import Envelope, HoldRule, NewRecipient

MAX_RULES = 1_000
MAX_PAUSES = 1_000


def held_from_start(
    rules: Sequence[HoldRule], envelope: Envelope, recipients: Sequence[NewRecipient]
) -> Iterator[tuple[NewRecipient, str]]:
    """Each recipient with the reason why it is held, "" when it is not."""
    candidates = [
        rule
        for rule in rules
        if _matches(rule.sender, envelope.sender) and _matches(rule.submitter, envelope.submitter)
    ]
    for recipient in recipients:
        reason = recipient.hold_reason or next(
            (
                rule.reason or f"hold rule {rule.number}"
                for rule in candidates
                if _matches(rule.recipient, recipient.address)
            ),
            "",
        )
        yield recipient, reason


def accounts_held(rules: Sequence[HoldRule]) -> Sequence[tuple[str, HoldRule]]:
    """Accounts of which all mail is held, each with its rule: braked ones first, a brake before another rule."""
    found: dict[str, HoldRule] = {}
    for rule in sorted(rules, key=lambda each: not each.is_brake):
        if rule.submitter and not (rule.sender or rule.recipient or rule.submitter.startswith("@")):
            found.setdefault(rule.submitter.lower(), rule)
    return list(found.items())


def _matches(pattern: str, address: str) -> bool:
    """A whole address, `@domain`, `<>` for the null sender; "" matches all."""
    if not pattern:
        return True
    if pattern == "<>":
        return not address
    if pattern.startswith("@"):
        return address.lower().endswith(pattern.lower())
    return address.lower() == pattern.lower()
