"""Connections kept for the next message to the same host: a greeting and a TLS handshake saved per message.

A connection waits a few seconds at most and is asked for a sign of life (RSET) before it is used again; one that does not
give it is dropped and a fresh one made. Nothing is kept longer, so a host is not held up by mail we might have.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection

_IDLE_SECONDS = 3.0
_SIGN_OF_LIFE_SECONDS = 10.0
"""It answered seconds ago: silence now means that the way to it is gone, and a fresh connection finds out."""
_KEPT = 100
_MESSAGES_PER_CONNECTION = 100
"""Many servers count and close by themselves beyond that."""

Place = tuple[str, str, int, bool]
"""Host, address, port, whether the host has proved who it is."""


class Pool:
    """Idle connections by place."""

    def __init__(self) -> None:
        self._idle: dict[Place, dict[SmtpConnection, asyncio.TimerHandle]] = defaultdict(dict)
        self._count = 0

    async def take(self, place: Place) -> SmtpConnection | None:
        """A living connection, if one is left."""
        while waiting := self._idle.get(place):
            connection = next(reversed(waiting))
            self._remove(place, connection)
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE_SECONDS):
                    if (await connection.command(b"RSET")).positive:
                        return connection
            except (HostTrouble, TimeoutError):
                pass  # it went while it waited: a fresh one tells whether the host is in trouble
            except BaseException:
                connection.close()
                raise
            connection.close()
        return None

    def keep(self, place: Place, connection: SmtpConnection) -> None:
        """Put a connection aside whose transaction is over."""
        connection.messages += 1
        if connection.has_unread:  # its next answers would be taken for those to the next message
            connection.close()
            return
        if self._count >= _KEPT or connection.messages >= _MESSAGES_PER_CONNECTION:
            connection.leave()
            return
        timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._expire, place, connection)
        self._idle[place][connection] = timer
        self._count += 1

    def close(self) -> None:
        """Say goodbye to all."""
        for place, waiting in list(self._idle.items()):
            for connection in list(waiting):
                self._expire(place, connection)

    def _expire(self, place: Place, connection: SmtpConnection) -> None:
        self._remove(place, connection)
        connection.leave()

    def _remove(self, place: Place, connection: SmtpConnection) -> None:
        self._idle[place].pop(connection).cancel()
        self._count -= 1
        if not self._idle[place]:
            del self._idle[place]
