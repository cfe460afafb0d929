"""AUTH: any SASL mechanism, initial responses included. RFC 5034."""

from __future__ import annotations

import base64
import binascii

from mailbox_app.accounts.sasl import LoggedIn, Why
from mailbox_app.proto.pop3.framing import Overlong
from mailbox_app.proto.sasl.mechanism import Challenge
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.commands.login import enter, refuse_in_clear, refuse_login
from mailbox_app.services.pop3.replies import BadCommand, Refusal
from mailbox_app.services.pop3.session import Session


async def auth(session: Session, argument: bytes) -> str | None:
    """Run the exchange. Alone it lists the mechanisms, as before RFC 2449."""
    refuse_in_clear(session)
    name, _, initial = argument.strip().partition(b" ")
    sasl = session.service.deps.sasl
    if not name:
        session.write("\r\n".join(["+OK", *sasl.mechanisms(session.channel), ".", ""]).encode("ascii"))
        return None
    exchange = sasl.begin(
        name.decode("ascii", "replace"), session.channel, protocol="pop3", remote_ip=session.remote_ip
    )
    if exchange is None:
        raise Refusal("Unknown mechanism")
    step = await exchange.start(_decoded(initial) if initial else None)
    while isinstance(step, Challenge):
        step = await exchange.step(await _ask(session, step.data))
    if not isinstance(step, LoggedIn):
        if step.why is Why.IDENTITY:
            raise Refusal("Acting for others is not possible", "AUTH")
        await refuse_login(session)
    return await enter(session, step.account)


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.write(b"+ %b\r\n" % base64.b64encode(challenge))
    answer = await session.read_line()
    if isinstance(answer, Overlong):
        raise BadCommand("Line too long")
    if answer == b"*":  # RFC 5034 4: the client cancels
        raise BadCommand("Cancelled")
    return _decoded(answer)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"" if text == b"=" else text, validate=True)
    except binascii.Error as error:
        raise BadCommand("Base64 expected") from error


AUTH = Command("AUTH", State.AUTHORIZATION, Takes.MAYBE, "RFC 5034 4", auth)
