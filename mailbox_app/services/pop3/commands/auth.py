"""AUTH with PLAIN and LOGIN, initial responses included. RFC 5034, RFC 4616."""

from __future__ import annotations

import base64
import binascii

from mailbox_app.proto.pop3.framing import Overlong
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.commands.login import check_password, refuse_in_clear
from mailbox_app.services.pop3.replies import BadCommand, Refusal
from mailbox_app.services.pop3.session import Session


async def auth(session: Session, argument: bytes) -> str | None:
    """Run the exchange, then check the password. Alone it lists the mechanisms, as before RFC 2449."""
    refuse_in_clear(session)
    mechanism, _, initial = argument.strip().partition(b" ")
    match mechanism.upper():
        case b"":
            session.write("\r\n".join(["+OK", *session.mechanisms, ".", ""]).encode("ascii"))
            return None
        case b"PLAIN":
            parts = (_decoded(initial) if initial else await _ask(session, "")).split(b"\0")
            if len(parts) != 3:
                raise BadCommand("PLAIN needs two NULs")
            identity, name, given = parts
            if identity and identity.lower() != name.lower():
                raise Refusal("Acting for others is not possible", "AUTH")
        case b"LOGIN":
            name = _decoded(initial) if initial else await _ask(session, "VXNlcm5hbWU6")
            given = await _ask(session, "UGFzc3dvcmQ6")
        case _:
            raise Refusal("Unknown mechanism")
    return await check_password(session, name, given)


async def _ask(session: Session, prompt: str) -> bytes:
    session.write(f"+ {prompt}\r\n".encode("ascii"))
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
