"""Taking a message in from a literal: memory up to a bound, then a temporary file; and its way into the store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import BinaryIO, cast

from mailbox_app.errors import StoreError
from mailbox_app.proto.imap.framing import Complete
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session
from mailbox_app.store.appender import Place
from mailbox_app.store.interface import Content
from mailbox_app.store.model import Appended

MEMORY_BYTES = 1 << 18
"""More of one message goes to a file in pieces of this size; ten clients with large ones must not be felt."""


class IncomingMessage:
    """The bytes of one literal. After a fault the rest is still read and dropped, so that the next command is found."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: BinaryIO | None = None
        self._size = 0
        self._fault: Exception | None = None

    async def receive(self) -> None:
        """Read the literal to its end; raises what went wrong only then."""
        while True:
            chunk = await self._session.read_chunk()
            if self._fault is None:
                try:
                    await self._take(chunk.data)
                except (Refusal, OSError) as error:
                    self._fault = error
            if chunk.last:
                break
        if isinstance(self._fault, OSError):
            raise StoreError("store.full", "storage is not writable now", temporary=True) from self._fault
        if self._fault is not None:
            raise self._fault

    async def _take(self, data: bytes) -> None:
        if b"\0" in data:  # RFC 9051 4.3: NUL only in a literal8
            raise Refusal("Message contains NUL", "CANNOT")
        self._pieces.append(data)
        self._held += len(data)
        self._size += len(data)
        if self._held > MEMORY_BYTES:
            await self._write_out()

    async def _write_out(self) -> None:
        pieces, self._pieces, self._held = self._pieces, [], 0
        if self._file is None:
            directory = self._session.service.deps.temporary_dir
            opened = await self._session.offload(tempfile.TemporaryFile, buffering=0, dir=directory)
            self._file = cast("BinaryIO", opened)
        await self._session.offload(_write_all, self._file.fileno(), pieces)

    async def content(self) -> Content:
        """What was received, ready for the store."""
        if self._file is None:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            return Content(b"", body, self._size)
        if self._pieces:
            try:
                await self._write_out()
            except OSError as error:
                raise StoreError("store.full", "storage is not writable now", temporary=True) from error
        self._file.seek(0)
        return Content(b"", self._file, self._size)

    def close(self) -> None:
        """Forget the bytes; the temporary file is gone with it."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]


async def end_of_command(session: Session) -> None:
    """Nothing may follow the message's literal."""
    event = await session.next_event()
    if isinstance(event, Complete):
        if event.data:
            raise Refusal("One message at a time", status="BAD")
        return
    session.framer.refuse()
    raise Refusal("One message at a time", status="BAD")


async def store_message(
    session: Session, content: Content, mailbox: str, flags: int, keywords: tuple[str, ...], seconds: int | None
) -> Appended:
    """Durable when this returns."""
    assert session.account is not None
    place = Place(mailbox, flags, keywords, seconds)
    return await session.service.appender.append(session.account.ref, content, place)
