"""Connections kept for the next message to the same host: a greeting and a TLS handshake saved per message.

A connection waits a few seconds at most. One that waited for more than a moment, or whose last transaction came to nothing, is
reset (RSET) before it is used again; one that does not answer that is dropped and a fresh one made. Nothing is kept longer, so a
host is not held up by mail we might have. The whole is bounded: the connection that waited longest goes first. To one place go
only so many connections at once; more wait a moment for one that comes back and then put their mail off.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection

_IDLE_SECONDS = 3.0
_SIGN_OF_LIFE_SECONDS = 10.0
"""It answered seconds ago: silence now means that the way to it is gone, and a fresh connection finds out."""
_FRESH_SECONDS = 1.0
"""One that answered so lately is used without asking; should it break, its user takes a fresh one."""
_KEPT = 250
"""More than a hundred destinations with two connections each, so that a long run does not make new ones all the time."""
_MESSAGES_PER_CONNECTION = 100
"""Many servers count and close by themselves beyond that."""
_AT_ONCE = 20
"""Connections to one address: what servers of today allow without being asked."""
_TURN_SECONDS = 2.0


class Place(NamedTuple):
    """What makes two connections the same."""

    route: str
    source: str
    host: str
    address: str
    port: int
    level: str = ""
    """What is proved about the host."""


class Crowded(Exception):
    """So many connections lead there already."""


class Pool:
    """Idle connections by place, and how many are in use."""

    def __init__(self) -> None:
        self._idle: OrderedDict[SmtpConnection, tuple[Place, asyncio.TimerHandle, float]] = OrderedDict()
        """The one that waits longest first."""
        self._by_place: dict[Place, list[SmtpConnection]] = {}
        self._in_use: dict[tuple[str, str, int], int] = {}
        self._queued: dict[tuple[str, str, int], deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, place: Place, at_once: int = 0) -> AsyncIterator[None]:
        """Hold one of the `at_once` connections (0: twenty) to a place; `Crowded` when none comes free within two seconds."""
        key = (place.route, place.address, place.port)
        until = asyncio.get_running_loop().time() + _TURN_SECONDS
        while self._in_use.get(key, 0) >= (at_once or _AT_ONCE):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queued = self._queued.setdefault(key, deque())
            queued.append(waiter)
            try:
                async with asyncio.timeout_at(until):
                    await waiter
            except TimeoutError as error:
                raise Crowded from error
            finally:
                if waiter in queued:
                    queued.remove(waiter)
                if not queued and self._queued.get(key) is queued:
                    del self._queued[key]
        self._in_use[key] = self._in_use.get(key, 0) + 1
        try:
            yield
        finally:
            self._in_use[key] -= 1
            if not self._in_use[key]:
                del self._in_use[key]
            self._next(key)

    async def take(self, place: Place) -> SmtpConnection | None:
        """A living connection, if one is left."""
        while waiting := self._by_place.get(place):
            connection = waiting[-1]
            since = self._remove(connection)
            if connection.is_over or connection.has_unread:
                connection.close()
                continue
            if connection.at_rest and asyncio.get_running_loop().time() < since + _FRESH_SECONDS:
                return connection
            try:
                async with asyncio.timeout(_SIGN_OF_LIFE_SECONDS):
                    if await connection.rest():
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
        if connection.has_unread:  # its next answers would be taken for those to the next message
            connection.close()
            return
        if connection.messages >= _messages_at_most(connection):
            connection.leave()
            return
        if len(self._idle) >= _KEPT:
            self._expire(next(iter(self._idle)))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_IDLE_SECONDS, self._expire, connection)
        self._idle[connection] = place, timer, loop.time()
        self._by_place.setdefault(place, []).append(connection)

    def close(self) -> None:
        """Say goodbye to all."""
        for connection in list(self._idle):
            self._expire(connection)

    def _next(self, key: tuple[str, str, int]) -> None:
        for waiter in self._queued.get(key, ()):
            if not waiter.done():
                waiter.set_result(None)
                return

    def _expire(self, connection: SmtpConnection) -> None:
        self._remove(connection)
        connection.leave()

    def _remove(self, connection: SmtpConnection) -> float:
        """Since when it waited."""
        place, timer, since = self._idle.pop(connection)
        timer.cancel()
        self._by_place[place].remove(connection)
        if not self._by_place[place]:
            del self._by_place[place]
        return since


def _messages_at_most(connection: SmtpConnection) -> int:
    """Ours, or what the host says it takes. RFC 9422 4.1."""
    theirs = connection.limit("MAILMAX")
    return min(theirs, _MESSAGES_PER_CONNECTION) if theirs else _MESSAGES_PER_CONNECTION
