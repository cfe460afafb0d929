"""AUTHENTICATE by any SASL mechanism, and UNAUTHENTICATE. RFC 5804 2.1, 2.14.1."""

from __future__ import annotations

import base64
import binascii
import random
from typing import NoReturn

from mailbox_app.accounts.sasl import LoggedIn, Why
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.managesieve.answers import answer, string
from mailbox_app.proto.managesieve.grammar import Request
from mailbox_app.proto.sasl.mechanism import Challenge
from mailbox_app.services.managesieve.command import Command, State
from mailbox_app.services.managesieve.replies import BadCommand, Refusal
from mailbox_app.services.managesieve.session import Session

MAX_FAILURES = 4
FAILURE_SECONDS = 1.0
"""A wrong password costs this and up to as much again: guessing is slow, and its timing says nothing."""


async def authenticate(session: Session, request: Request) -> str | None:
    """Run the exchange. What a mechanism says with its success goes into the answer's code (RFC 5804 1.3, SASL)."""
    name = request.string()
    initial = _decoded(request.string()) if request.has_more else None
    request.end()
    if not session.may_log_in:
        raise Refusal("STARTTLS first", "ENCRYPT-NEEDED")
    exchange = session.service.deps.sasl.begin(
        name.decode("ascii", "replace"), session.channel, protocol="managesieve", remote_ip=session.remote_ip
    )
    if exchange is None:
        raise Refusal("Unknown mechanism")
    step = await exchange.start(initial)
    while isinstance(step, Challenge):
        if (account := exchange.won) is not None:
            session.entered(account)
            session.write(answer("OK", "Logged in", b"SASL " + string(base64.b64encode(step.data))))
            return None
        step = await exchange.step(await _ask(session, step.data))
    if not isinstance(step, LoggedIn):
        if step.why is Why.IDENTITY:
            raise Refusal("Acting for others is not possible")
        await _refuse(session)
    session.entered(step.account)
    return "Logged in"


async def unauthenticate(session: Session, request: Request) -> str:
    """Back to where a stranger stands, TLS stays."""
    request.end()
    session.left_account()
    return "Logged out"


async def _refuse(session: Session) -> NoReturn:
    """After a while."""
    session.login_failures += 1
    await session.clock.sleep(FAILURE_SECONDS * (1 + random.random()))
    if session.login_failures >= MAX_FAILURES:
        raise Goodbye("Too many failed logins")
    raise Refusal("Wrong name or password")


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.write(string(base64.b64encode(challenge)), b"\r\n")
    said = await session.read_string()
    if said == b"*":  # RFC 5804 2.1: the client cancels
        raise Refusal("Cancelled")
    return _decoded(said)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadCommand("Base64 expected") from error


AUTHENTICATE = Command("AUTHENTICATE", State.STRANGER, "RFC 5804 2.1", authenticate)
UNAUTHENTICATE = Command("UNAUTHENTICATE", State.LOGGED_IN, "RFC 5804 2.14.1", unauthenticate)
