"""What the filters decided about one account's copy, ready to be carried out; nothing has happened yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.delivery.mail import Body
from mailbox_app.store.appender import INBOX, Place
from mailbox_app.store.model import SystemFlag


@dataclass(frozen=True, slots=True)
class PlannedCopy:
    """One copy for one mailbox of the account."""

    place: Place
    head: bytes | None = None
    """Trace fields and header block in place of the received ones; None: as received."""
    reason: str = ""
    rest: Body | None = None
    """What stands behind `head`, which is given then, when a script changed it; None: as received."""


@dataclass(frozen=True, slots=True)
class PlannedRedirect:
    """One address the message goes on to."""

    address: str
    head: bytes | None = None
    reason: str = ""
    rest: Body | None = None


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """A message of our own to somebody: an out-of-office answer or a notification."""

    kind: str
    """replied or notified."""
    recipients: Sequence[str]
    content: bytes
    domain: str
    """Of its author: whose keys sign it."""
    reason: str = ""
    claim: str = ""
    """Not sent when this is remembered already; remembered when it is sent."""
    claim_seconds: float = 0.0
    fcc: Place | None = None
    """Where the account wants a copy of it. RFC 8580."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All for one account."""

    copies: Sequence[PlannedCopy] = ()
    redirects: Sequence[PlannedRedirect] = ()
    answers: Sequence[PlannedAnswer] = ()
    rejection: str | None = None
    """The text of a refusal; there are no copies and redirects then."""
    rejection_copy: PlannedCopy | None = None
    """What is stored instead where a refusal would reach a stranger who did not send it."""
    notes: Sequence[str] = ()
    """What was not done, and why."""
    steps: Sequence[str] = ()
    remember: Sequence[tuple[str, float]] = ()
    """Identities for `duplicate`, with seconds."""


TO_INBOX = Plan((PlannedCopy(INBOX),))


def sentences(plan: Plan) -> list[str]:
    """What would be done, a line for each."""
    lines = []
    if plan.rejection is not None:
        lines.append(f"refuse: {' '.join(plan.rejection.split())}")
    for copy in plan.copies:
        flags = [flag.name.capitalize() for flag in SystemFlag if copy.place.flags & flag and flag.name]
        words = " ".join([*(f"\\{flag}" for flag in flags), *copy.place.keywords])
        lines.append(
            f"store in {copy.place.mailbox}" + (f" with {words}" if words else "") + _edited(copy.head, copy.rest)
        )
    lines += [f"pass on to {redirect.address}{_edited(redirect.head, redirect.rest)}" for redirect in plan.redirects]
    for answer in plan.answers:
        filed = f", with a copy in {answer.fcc.mailbox}" if answer.fcc is not None else ""
        verb = "answer" if answer.kind == "replied" else "notify"
        lines.append(f"{verb} {', '.join(answer.recipients)}{filed}")
    return lines or ["discard"]


def _edited(head: bytes | None, rest: Body | None) -> str:
    if rest is not None:
        return " with changed content"
    return "" if head is None else " with a changed header"
