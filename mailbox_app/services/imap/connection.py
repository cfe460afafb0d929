"""The connection of an IMAP session: events from the framer, and compression between it and the transport."""

from __future__ import annotations

import asyncio
from typing import Any

from mailbox_app.net.connection import ConnectionGone
from mailbox_app.net.service import ServedSession, SessionService
from mailbox_app.proto.imap.framing import Event, Framer, FramingLimits
from mailbox_app.services.imap.compression import CorruptStream, Deflate

AUTOLOGOUT_SECONDS = 1_800.0
"""RFC 9051 5.4: at least 30 minutes."""


class Connection(ServedSession[Framer]):
    """Bytes in, bytes out. Subclassed by the session, which implements `run`."""

    __slots__ = ("_deflate",)

    autologout_seconds = AUTOLOGOUT_SECONDS

    def __init__(self, limits: FramingLimits, service: SessionService[Any]) -> None:
        super().__init__(Framer(limits), service)
        self._deflate: Deflate | None = None

    def take(self, data: bytes) -> int:
        """Keep what came, compressed as it is."""
        if self._deflate is None:
            return super().take(data)
        self._deflate.take(data)
        return self._deflate.packed_bytes

    def pack(self, data: bytes) -> bytes:
        """What goes to the transport for these bytes."""
        return data if self._deflate is None else self._deflate.pack(data)

    async def next_event(self) -> Event:
        """The next event of the running command, waiting for the peer within the read deadline."""
        while (event := self.framer.next_event()) is None:
            if self.unpack_more():
                await asyncio.sleep(0)  # what it becomes may be a thousand times as long
            else:
                await self.wait_for_more()
        return event

    # compression
    @property
    def is_compressed(self) -> bool:
        """Whether COMPRESS is on."""
        return self._deflate is not None

    def start_compression(self) -> None:
        """What was written goes as it is, what is written and read from now on is compressed."""
        self.flush()
        self._deflate = Deflate()
        rest = self.framer.take_rest()
        if rest:
            self._deflate.take(rest)

    def stop_compression(self) -> None:
        """What was written is the last that goes compressed."""
        self.flush()
        self._deflate = None

    def unpack_more(self) -> bool:
        """Give the framer a piece of compressed input; False: there is none."""
        if self._deflate is None or not self._deflate.waiting:
            return False
        try:
            self.framer.feed(self._deflate.unpack())
        except CorruptStream as error:
            self.abort()
            raise ConnectionGone from error
        return True

    def rest(self) -> None:
        """Nothing happens for a while: keep little."""
        if self._deflate is not None:
            self._deflate.rest()
