"""CAPA: what works in the state the session is in. RFC 2449 5."""

from __future__ import annotations

from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.session import Session

_ALWAYS = ("TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER", "LANG")
"""No LOGIN-DELAY: mail may be looked for as often as anybody likes."""


async def capa(session: Session, argument: bytes) -> None:
    """The list; who may not log in here is not asked to."""
    lines = ["+OK Capability list follows", *_ALWAYS]
    if session.account is None:
        if session.may_log_in:
            mechanisms = session.service.deps.sasl.mechanisms(session.channel)
            lines += ["USER", f"SASL {' '.join(mechanisms)}"]
        if not session.is_tls:
            lines.append("STLS")  # RFC 2595 4
    lines += ["IMPLEMENTATION Mailbox", ".", ""]
    session.write("\r\n".join(lines).encode("ascii"))


CAPA = Command("CAPA", State.ANY, Takes.NOTHING, "RFC 2449 5", capa)
