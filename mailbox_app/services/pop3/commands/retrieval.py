"""RETR and TOP: the stored bytes, in bounded pieces. RFC 1939 5 and 7."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.net.connection import ConnectionGone
from mailbox_app.proto.pop3.command_line import numbers
from mailbox_app.proto.pop3.message_text import MessageText
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.commands.listing import message_index
from mailbox_app.services.pop3.replies import BadCommand, Refusal
from mailbox_app.services.pop3.session import Session
from mailbox_app.store.interface import Account

_PIECE_BYTES = 1 << 18


async def retr(session: Session, argument: bytes) -> None:
    """A whole message; the next one is made ready meanwhile when they are asked for in order."""
    index = message_index(session, argument)
    in_order = session.ahead.asked_for(index)
    ready = await session.ahead.take(index)
    drop, following = session.drop, index + 1
    if in_order and following < drop.total_count and drop.size(following) < _PIECE_BYTES:
        step = partial(next, _message(session, following))
        session.ahead.begin(following, session.offload(step), session.clock.monotonic_seconds())
    if ready is not None:
        session.write(ready)
    else:
        await _send(session, _message(session, index))


def _message(session: Session, index: int) -> Iterator[tuple[bytes, bool]]:
    answer = f"+OK {session.drop.size(index)} octets\r\n".encode("ascii")
    return _pieces(session.mail(), session.drop.mailbox_id, session.drop.uid(index), MessageText(), answer)


async def top(session: Session, argument: bytes) -> None:
    """The header and so many lines of the body."""
    found = numbers(argument)
    if len(found) != 2:
        raise BadCommand("Message number and number of lines expected")
    index = session.drop.index(found[0])
    text = MessageText(found[1])
    await _send(session, _pieces(session.mail(), session.drop.mailbox_id, session.drop.uid(index), text, b"+OK\r\n"))


async def _send(session: Session, pieces: Iterator[tuple[bytes, bool]]) -> None:
    try:
        await session.send_produced(partial(session.offload, next, pieces))
    except StoreError as error:
        if error.code == "store.no_such_message":
            raise Refusal("Message is gone") from error  # another session removed it
        raise


def _pieces(
    mail: Account, mailbox_id: MailboxId, uid: Uid, text: MessageText, answer: bytes
) -> Iterator[tuple[bytes, bool]]:
    """In threads: pieces, each with whether more come. Most messages are one; once the first is out there is no way back."""
    with mail.open_message(mailbox_id, uid) as file:
        left = os.fstat(file.fileno()).st_size
        piece = file.read(min(left, _PIECE_BYTES))
        out = answer + text.piece(piece)
        while (left := left - len(piece)) > 0 and not text.done:
            yield out, True
            try:
                piece = file.read(min(left, _PIECE_BYTES))
            except OSError as error:
                raise ConnectionGone from error
            if not piece:  # to end the text here would make half a message look whole
                raise ConnectionGone
            out = text.piece(piece)
    yield out + text.end(), False


RETR = Command("RETR", State.TRANSACTION, Takes.SOMETHING, "RFC 1939 5", retr)
TOP = Command("TOP", State.TRANSACTION, Takes.SOMETHING, "RFC 1939 7", top)
