"""FUTURERELEASE: our users hand in mail that is to go later. RFC 4865.

Only who is logged in may; the time is bounded by the configuration. A time that has passed means at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailbox_app.proto.smtp.commands import MailCommand
from mailbox_app.proto.smtp.replies import Refusal

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

_DAY_SECONDS = 86_400
_HOUR_SECONDS = 3_600


def keyword(session: SmtpSession) -> str:
    """The line of EHLO with the longest interval and the latest time, to the hour; "" where it is not offered."""
    days = session.service.config.submission.future_release_days
    if not days or not (session.needs_login or session.kind == "local"):
        return ""
    now = int(session.service.clock.epoch_seconds())
    latest = datetime.fromtimestamp(now - now % _HOUR_SECONDS + days * _DAY_SECONDS, UTC)
    return f"FUTURERELEASE {days * _DAY_SECONDS} {latest:%Y-%m-%dT%H:%M:%SZ}"


def due_at(session: SmtpSession, command: MailCommand) -> datetime | None:
    """When the message is to go; None: at once. A `Refusal` when that is too far ahead or nothing for this session."""
    if command.hold_for is None and command.hold_until is None:
        return None
    service = session.service
    days = service.config.submission.future_release_days
    if not days or session.account is None:
        text = "Mail for later is taken from our own users only"
        raise Refusal(555, "5.5.4", text, reason="syntax", address=command.sender)
    now = service.clock.now()
    # added only when it is short enough to be added
    if command.hold_for is not None and command.hold_for > days * _DAY_SECONDS:
        raise _too_far(days, command)
    due = command.hold_until or now + timedelta(seconds=command.hold_for or 0)
    if due > now + timedelta(days=days):
        raise _too_far(days, command)
    return due if due > now else None


def _too_far(days: int, command: MailCommand) -> Refusal:
    text = f"Mail may be handed in {days} days ahead at most"
    return Refusal(501, "5.5.4", text, reason="syntax", address=command.sender)
