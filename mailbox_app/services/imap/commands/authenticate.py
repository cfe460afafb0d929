"""AUTHENTICATE with every mechanism of `accounts/sasl.py`, initial responses included. RFC 9051 6.2.2, RFC 4959."""

from __future__ import annotations

import base64
import binascii

from mailbox_app.accounts.sasl import Refused, Why
from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.sasl.mechanism import Challenge
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.login import refuse, refuse_in_clear, welcome
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


def parse_authenticate(cursor: Cursor) -> tuple[bytes, bytes | None]:
    """Mechanism and initial response."""
    cursor.space()
    mechanism = cursor.word()
    if cursor.at_end():
        return mechanism, None
    cursor.space()
    initial = cursor.data[cursor.pos :]
    cursor.pos = len(cursor.data)
    return mechanism, b"" if initial == b"=" else initial  # RFC 4959 3: "=" is an empty response


async def authenticate(session: Session, request: Request, arguments: tuple[bytes, bytes | None]) -> str:
    """Run the exchange to its end."""
    mechanism, initial = arguments
    refuse_in_clear(session)
    exchange = session.service.deps.sasl.begin(
        mechanism.decode("ascii", "replace"), session.channel, protocol="imap", remote_ip=session.remote_ip
    )
    if exchange is None:
        raise Refusal("Unknown mechanism", "CANNOT")
    try:
        step = await exchange.start(None if initial is None else _decoded(initial))
        while isinstance(step, Challenge):
            step = await exchange.step(await _ask(session, step.data))
    except ProtocolError as error:
        raise Refusal(response.text(error.public_text), status="BAD") from error
    if isinstance(step, Refused):
        if step.why is Why.IDENTITY:
            await refuse(session, "Acting for others is not possible", "AUTHORIZATIONFAILED")
        await refuse(session)
    return welcome(session, step.account)


async def _ask(session: Session, challenge: bytes) -> bytes:
    session.continuation(base64.b64encode(challenge).decode("ascii"))
    answer = await session.read_line()
    if answer == b"*":  # RFC 9051 6.2.2: the client cancels
        raise Refusal("Cancelled", status="BAD")
    return _decoded(answer)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refusal("Base64 expected", status="BAD") from error


AUTHENTICATE = Command(
    "AUTHENTICATE",
    State.NOT_AUTHENTICATED,
    Does.NOTHING,
    "",
    "RFC 9051 6.2.2",
    authenticate,
    parse_authenticate,
)
