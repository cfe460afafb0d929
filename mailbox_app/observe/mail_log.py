"""The mail log: six verbs are the operator's whole vocabulary, one line each.

accepted, rejected (at our door); queued, attempt, delivered, failed (on the way out). Each becomes one log line at info
and one `MailEvent` for the injected sinks (metrics, the decision journal, the console's last messages). Sinks must be quick and
never raise. Bodies and secrets never come here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

Sink = Callable[["MailEvent"], None]


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One event of the mail log. Empty strings and zero where a field does not apply."""

    verb: str
    """accepted, rejected, queued, attempt, delivered or failed."""
    direction: str
    """in (from other servers), submission (from our users) or out."""
    session_id: str = ""
    queue_id: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    message_id: str = ""
    size_bytes: int = 0
    remote: str = ""
    """Address or host of the other side."""
    tls: str = ""
    code: int = 0
    enhanced: str = ""
    """The enhanced status of an attempt's answer, "5.1.1"."""
    text: str = ""
    """The reply, or the reason in words."""
    reason: str = ""
    """A stable word for metrics: relay_denied, no_such_user, over_quota, bad_line_ending, ..."""
    checks: str = ""
    """The Authentication-Results summary, "spf=pass dkim=pass dmarc=pass"."""
    duration_seconds: float = 0.0


class MailLog:
    """Writes the lines and feeds the sinks."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._log = structlog.get_logger("mail")
        self._sinks = tuple(sinks)

    def write(self, event: MailEvent) -> None:
        """One event: a log line with its non-empty fields, then the sinks."""
        fields = {name: value for name in _FIELDS if (value := getattr(event, name))}
        self._log.info(event.verb, **fields)
        for sink in self._sinks:
            sink(event)


_FIELDS = tuple(name for name in MailEvent.__slots__ if name != "verb")
