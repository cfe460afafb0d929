"""STAT, LIST and UIDL. RFC 1939 5 and 7."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from mailbox_app.proto.pop3.command_line import numbers
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.replies import BadCommand
from mailbox_app.services.pop3.session import Session


def message_index(session: Session, argument: bytes) -> int:
    """The place of the one message a command names."""
    found = numbers(argument)
    if len(found) != 1:
        raise BadCommand("Message number expected")
    return session.drop.index(found[0])


async def stat(session: Session, argument: bytes) -> str:
    """Count and size of what is not marked."""
    drop = session.drop
    return f"{drop.total_count - drop.deleted_count} {drop.total_bytes - drop.deleted_bytes}"


async def list_sizes(session: Session, argument: bytes) -> str | None:
    """Number and size of one message or of all."""
    drop = session.drop
    if argument.strip():
        index = message_index(session, argument)
        return f"{index + 1} {drop.size(index)}"
    session.write(f"+OK {drop.total_count - drop.deleted_count} messages\r\n".encode("ascii"))
    await _send_lines(session, drop.size_lines())
    return None


async def list_unique_ids(session: Session, argument: bytes) -> str | None:
    """Number and unique id of one message or of all."""
    drop = session.drop
    if argument.strip():
        index = message_index(session, argument)
        return f"{index + 1} {drop.unique_id(index)}"
    session.write(b"+OK\r\n")
    await _send_lines(session, drop.unique_id_lines())
    return None


async def _send_lines(session: Session, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        session.write(piece)
        await session.drain()
        await asyncio.sleep(0)  # others get their turn inside a list of a million
    session.write(b".\r\n")


STAT = Command("STAT", State.TRANSACTION, Takes.NOTHING, "RFC 1939 5", stat)
LIST = Command("LIST", State.TRANSACTION, Takes.MAYBE, "RFC 1939 5", list_sizes)
UIDL = Command("UIDL", State.TRANSACTION, Takes.MAYBE, "RFC 1939 7", list_unique_ids)
