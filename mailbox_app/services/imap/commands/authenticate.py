"""AUTHENTICATE with PLAIN and LOGIN, initial responses included. RFC 9051 6.2.2, RFC 4616, RFC 4959."""

from __future__ import annotations

import base64
import binascii

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.login import check_password, refuse_in_clear
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
    """Run the exchange, then check the password."""
    mechanism, initial = arguments
    refuse_in_clear(session)
    if mechanism == b"PLAIN":
        identity, name, password = _plain(_decoded(initial) if initial is not None else await _ask(session, ""))
        if identity and identity.lower() != name.lower():
            raise Refusal("Acting for others is not possible", "AUTHORIZATIONFAILED")
    elif mechanism == b"LOGIN":
        name = _decoded(initial) if initial is not None else await _ask(session, "VXNlcm5hbWU6")
        password = await _ask(session, "UGFzc3dvcmQ6")
    else:
        raise Refusal("Unknown mechanism", "CANNOT")
    return await check_password(session, name, password)


async def _ask(session: Session, prompt: str) -> bytes:
    session.continuation(prompt)
    answer = await session.read_line()
    if answer == b"*":  # RFC 9051 6.2.2: the client cancels
        raise Refusal("Cancelled", status="BAD")
    return _decoded(answer)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refusal("Base64 expected", status="BAD") from error


def _plain(message: bytes) -> tuple[bytes, bytes, bytes]:
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise Refusal("PLAIN needs two NULs", status="BAD")
    return parts[0], parts[1], parts[2]


AUTHENTICATE = Command(
    "AUTHENTICATE",
    State.NOT_AUTHENTICATED,
    Does.NOTHING,
    "",
    "RFC 9051 6.2.2",
    authenticate,
    parse_authenticate,
)
