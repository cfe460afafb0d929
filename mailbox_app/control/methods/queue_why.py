"""One sentence on a waiting recipient: why it waits, what answered last, when it goes next. Pure.

The same words stand in `mailbox queue show`, in `mailbox queue list --why` and in the console, so there is one place for them.
What the row does not know itself (a pause, a delivery that is under way) comes as `Situation`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailbox_app.control.methods.spans import duration
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.model import Pause, QueuedMessage, QueuedRecipient, RecipientState
from mailbox_app.mailqueue.under_way import Delivery
from mailbox_app.outbound.advice import Advice, advice_for
from mailbox_app.proto.plain_text import clean

_LATE_SECONDS = 60.0
_TEXT_CHARACTERS = 200
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
_GREYLISTED = "wait.greylisted"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is true beside the row."""

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """By destination; "" is the whole queue."""
    under_way: Mapping[tuple[QueueId, str], Delivery] = field(default_factory=dict)
    """By message and destination: what this server delivers right now."""


def situation(pauses: Sequence[Pause] = (), under_way: Sequence[Delivery] = ()) -> Situation:
    """From the lists that the queue and the runner give."""
    return Situation(
        {each.destination: each for each in pauses}, {(each.queue_id, each.destination): each for each in under_way}
    )


def why(row: QueuedRecipient, now: datetime, about: Situation) -> str:
    """The sentence for one recipient."""
    match row.state:
        case RecipientState.ACTIVE:
            return _active(row, now, about.under_way.get((row.queue_id, row.destination)))
        case RecipientState.QUARANTINED:
            reason = _words(row.hold_reason or row.last_text) or "its file is damaged"
            until = "it waits until somebody releases, returns or drops it"
            return f"In quarantine, since the message cannot be read ({reason}); {until}."
        case RecipientState.HELD:
            by = f": {_words(row.hold_reason)}" if row.hold_reason else ""
            return f"Held{by}{_after_answer(row)}; it waits until somebody releases it."
        case RecipientState.DEFERRED:
            pause = about.pauses.get("") or about.pauses.get(row.destination)
            return _deferred(row, now) if pause is None else _paused(row, now, pause)


def why_message(message: QueuedMessage, now: datetime, about: Situation) -> str:
    """The sentence for a whole message: that of the recipient whose turn is next, and how many wait for other reasons."""
    waiting = sorted(message.recipients, key=lambda row: (_ORDER.index(row.state), row.next_at))
    if not waiting:
        return "Nothing of it waits any more."
    sentences = [why(row, now, about) for row in waiting]
    others = sum(each != sentences[0] for each in sentences)
    if not others:
        return sentences[0]
    rest = "1 other recipient waits" if others == 1 else f"{others} other recipients wait"
    return f"{clean(waiting[0].address)}: {sentences[0]} {rest} for another reason."


def advice(row: QueuedRecipient) -> Advice | None:
    """What a well-known last answer means and what to do about it."""
    return advice_for(row.last_code, row.last_enhanced, row.last_text) if row.attempts else None


_ORDER = (RecipientState.ACTIVE, RecipientState.DEFERRED, RecipientState.HELD, RecipientState.QUARANTINED)


def _active(row: QueuedRecipient, now: datetime, delivery: Delivery | None) -> str:
    if delivery is None:
        return f"Being delivered right now{_after_answer(row)}."
    host = f" to {clean(delivery.host)}" if delivery.host else "; the way to its domain is looked up"
    since = f"for {duration((now - delivery.since).total_seconds())}"
    return f"Being delivered right now, {since}{host}{_after_answer(row)}."


def _paused(row: QueuedRecipient, now: datetime, pause: Pause) -> str:
    what = f"to {clean(pause.destination)}" if pause.destination else "of all mail"
    reason = f": {_words(pause.reason)}" if pause.reason else ""
    since = duration((now - pause.made_at).total_seconds())
    return f"Delivery {what} has been paused for {since}{reason}{_after_answer(row)}; it goes when somebody resumes it."


def _deferred(row: QueuedRecipient, now: datetime) -> str:
    ahead = (row.next_at - now).total_seconds()
    if row.hold_reason:  # passed over at its last turn
        then = f"in {duration(ahead)}" if ahead > 0 else "now"
        return f"Not tried for now: {_words(row.hold_reason)}{_after_answer(row)}; it is looked at again {then}{_by_route(row)}."
    if row.attempts:
        return f"{_answered(row)}; {_next(row, ahead)}{_by_route(row)}."
    if row.last_text:  # queued for a reason instead of delivered at once
        return f"Not tried yet: {_words(row.last_text)}; {_next(row, ahead)}{_by_route(row)}."
    if ahead > 0:
        return (
            f"To be sent later, as its sender asked or an operator said: not before {row.next_at:%Y-%m-%d %H:%M} UTC,"
            f" which is in {duration(ahead)}{_by_route(row)}."
        )
    return f"Not tried yet; {_next(row, ahead)}{_by_route(row)}."


def _next(row: QueuedRecipient, ahead: float) -> str:
    name = "next" if row.attempts else "first"
    if ahead > 0:
        return f"the {name} try is in {duration(ahead)}"
    if ahead > -_LATE_SECONDS:
        return f"the {name} try is due now and waits for a free worker"
    return (
        f"the {name} try has been due for {duration(-ahead)} and waits for a free worker or for other deliveries to"
        f" {clean(row.destination)}"
    )


def _answered(row: QueuedRecipient) -> str:
    tries = "once" if row.attempts == 1 else f"{row.attempts} times"
    told = f"Tried {tries}{_last(row, ';')}"
    known = advice(row)
    if known is not None and known.code == _GREYLISTED:
        told += " (the other server asks every new sender to come back, which needs nothing)"
    return told


def _after_answer(row: QueuedRecipient) -> str:
    """What answered last, as a clause; nothing when nothing was tried."""
    if not row.attempts:
        return ""
    tries = "once" if row.attempts == 1 else f"{row.attempts} times"
    return f"; tried {tries} before{_last(row, ',')}"


def _last(row: QueuedRecipient, mark: str) -> str:
    """What came of the last try: a server's answer, what we found out about the server, or why there was none."""
    if not row.last_host:
        return f"{mark} {_unanswered(row)}: {_words(row.last_text) or _answer(row)}"
    if _is_ours(row):
        return f", at {clean(row.last_host)}: {_words(row.last_text)}"
    return f"{mark} {clean(row.last_host)} answered {_answer(row)}"


def _is_ours(row: QueuedRecipient) -> bool:
    """Whether the words are this server's own about the other one. Of an answer the status stands in its text, or is made up."""
    if row.last_text.startswith(f"{row.last_host.partition(' ')[0]} "):
        return True
    return not _STATUS.match(row.last_text) and row.last_enhanced not in ("", f"{row.last_code // 100}.0.0")


def _unanswered(row: QueuedRecipient) -> str:
    return "it could not be delivered here" if row.transport == "local" else "no server was reached"


def _answer(row: QueuedRecipient) -> str:
    text = _words(row.last_text)
    code = str(row.last_code or "")
    return text if not code or text.startswith(code) else f"{code} {text}".strip()


def _by_route(row: QueuedRecipient) -> str:
    return f", by the route {clean(row.route)} that an operator chose" if row.route else ""


def _words(text: str) -> str:
    return clean(text, _TEXT_CHARACTERS).strip().rstrip(".")
