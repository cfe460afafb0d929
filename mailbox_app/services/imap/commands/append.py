"""APPEND. RFC 9051 6.3.12, APPENDUID: RFC 4315 3."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailbox_app.errors import StoreError
from mailbox_app.proto.imap.grammar import Cursor, Flags
from mailbox_app.services.imap.appending import IncomingMessage, end_of_command, store_message
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.store import system_bits
from mailbox_app.services.imap.replies import Refusal, refusal
from mailbox_app.services.imap.session import Session

_ANNOUNCED = re.compile(rb"\{(\d{1,19})(\+?)\}$")


@dataclass(frozen=True, slots=True)
class Appending:
    """Everything before the message."""

    mailbox: str
    flags: Flags
    seconds: int | None
    size_bytes: int
    synchronising: bool


def parse_append(cursor: Cursor) -> Appending:
    """Mailbox, flags, date, and the announcement of the literal."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    flags = Flags((), ())
    if cursor.peek(b"("):
        flags = cursor.flag_list()
        cursor.space()
    seconds = None
    if cursor.peek(b'"'):
        seconds = cursor.date_time()
        cursor.space()
    announced = _ANNOUNCED.match(cursor.data, cursor.pos)
    if announced is None:
        raise cursor.fail("a literal")
    cursor.pos = announced.end()
    return Appending(mailbox, flags, seconds, int(announced[1]), not announced[2])


async def append(session: Session, request: Request, appending: Appending) -> str:
    """Take the literal, store it, tell its UID."""
    try:
        bits = _checked(session, appending)
    except Refusal:
        session.framer.refuse()
        raise
    if appending.synchronising:
        session.continuation("OK")
    session.framer.stream()
    message = IncomingMessage(session)
    try:
        try:
            await message.receive()
        finally:
            if not session.closed:
                await end_of_command(session)
        content = await message.content()
        appended = await store_message(
            session, content, appending.mailbox, bits, appending.flags.keywords, appending.seconds
        )
    except StoreError as error:
        if error.code == "store.over_quota":
            session.service.deps.metrics.quota_exceeded.inc()
        raise refusal(error, creatable=True) from error
    finally:
        message.close()
    if session.selected is not None and session.selected.mailbox_id == appended.mailbox_id:
        session.on_hint()
    return f"[APPENDUID {appended.uidvalidity} {appended.uid}] APPEND done"


def _checked(session: Session, appending: Appending) -> int:
    if appending.size_bytes > session.service.config.limits.max_message_bytes:
        raise Refusal("Message too large", "TOOBIG")  # RFC 7889 4
    if appending.size_bytes == 0:
        raise Refusal("Message is empty", "CANNOT")
    return system_bits(appending.flags, recent_passes=True)


APPEND = Command("APPEND", State.LOGGED_IN, Does.STREAMS, "", "RFC 9051 6.3.12", append, parse_append)
