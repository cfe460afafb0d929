"""CAPABILITY, STARTTLS, NOOP and LOGOUT. RFC 5804 2.2 to 2.4, 2.13."""

from __future__ import annotations

from mailbox_app.proto.managesieve.answers import answer, string
from mailbox_app.proto.managesieve.grammar import Request
from mailbox_app.services.managesieve.command import Command, State
from mailbox_app.services.managesieve.replies import Refusal
from mailbox_app.services.managesieve.session import Session


async def capability(session: Session, request: Request) -> str:
    """What this server can do here and now."""
    request.end()
    session.write(session.service.capabilities(session))
    return "That is all"


async def starttls(session: Session, request: Request) -> str:
    """Answer in clear, shake hands, tell the capabilities again. What is pipelined in clear ends the session."""
    request.end()
    if session.is_tls:
        raise Refusal("TLS is on already")
    session.write(answer("OK", "Begin TLS"))
    await session.start_tls(session.service.deps.tls)
    session.login_failures = 0
    session.write(session.service.capabilities(session))
    return "TLS is on"


async def noop(session: Session, request: Request) -> str | None:
    """Stay; with a string the answer repeats it, so that a client that lost count finds its place."""
    if not request.has_more:
        return "Still here"
    tag = request.string()
    request.end()
    session.write(answer("OK", "Still here", b"TAG " + string(tag)))
    return None


async def logout(session: Session, request: Request) -> None:
    """OK and the end."""
    request.end()
    session.write(answer("OK", "Goodbye"))
    session.close()


CAPABILITY = Command("CAPABILITY", State.ANY, "RFC 5804 2.4", capability)
STARTTLS = Command("STARTTLS", State.STRANGER, "RFC 5804 2.2", starttls)
NOOP = Command("NOOP", State.ANY, "RFC 5804 2.13", noop)
LOGOUT = Command("LOGOUT", State.ANY, "RFC 5804 2.3", logout)
