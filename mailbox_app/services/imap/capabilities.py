"""What CAPABILITY says: only what works in the state the session is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailbox_app.services.imap.command import AnyCommand

if TYPE_CHECKING:
    from mailbox_app.services.imap.session import Session

_ALWAYS = ("IMAP4rev1", "LITERAL+", "ID", "ENABLE", "SASL-IR")
_LOGGED_IN = (
    "CHILDREN",
    "SPECIAL-USE",
    "UIDPLUS",
    "ESEARCH",
    "CONDSTORE",
    "LIST-STATUS",
    "LIST-MYRIGHTS",
    "LIST-METADATA",
)
"""Extensions that are no command of their own."""


def capability_text(commands: Sequence[AnyCommand], session: Session, *, require_tls: bool) -> str:
    """The words, separated by spaces."""
    words = list(_ALWAYS)
    if session.account is not None:
        words += _LOGGED_IN
        words += dict.fromkeys(row.capability for row in commands if row.capability and row.capability not in words)
        return " ".join(words)
    if not session.is_tls:
        words.append("STARTTLS")
    if session.is_tls or not require_tls:
        words += [f"AUTH={name}" for name in session.service.deps.sasl.mechanisms(session.channel)]
    else:
        words.append("LOGINDISABLED")  # RFC 9051 6.2.3
    return " ".join(words)
