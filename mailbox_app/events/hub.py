"""Joins the buses of all processes: what one publishes is hinted in all others, at once.

The core runs the `HubServer` on run/hub.sock, fronts a `HubClient` each. The wire is one topic per line; the line "*" means
"hints were lost, look yourselves". Buffers are bounded: a peer that does not read in time loses hints and gets "*" when it
reads again. A client that lost the core connects again for ever, then calls all its subscribers back. That the queue has
something new is told at once and then once in a while: a runner that is awake finds all of it anyway.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from mailbox_app.clock import Clock
from mailbox_app.events.bus import LocalBus
from mailbox_app.events.hints import QUEUE_TOPIC, Topic

RESYNC = "*"
"""In the place of a topic: hints were lost."""
_BUFFER_BYTES = 262_144
"""About 10,000 hints; who is further behind is better off reading the store once."""
_LINE_BYTES = 4_096
_FIRST_RETRY_SECONDS = 0.02
_LAST_RETRY_SECONDS = 1.0
_QUEUE_SECONDS = 0.02
"""Between two hints of the queue: each of them is a look into its database."""

Connect = Callable[[], socket.socket]
"""Makes a connected, non-blocking socket to the hub; raises OSError."""


def deliver(bus: LocalBus, topics: Sequence[Topic]) -> None:
    """What came from elsewhere, to this process's subscribers."""
    for topic in topics:
        if topic == RESYNC:
            bus.resync()
        else:
            bus.deliver(topic)


class HubServer:
    """The core's end: passes each line on to all other connections and to the core's own bus."""

    def __init__(self, bus: LocalBus, listener: socket.socket) -> None:
        self._bus = bus
        self._listener = listener
        self.outward: Callable[[Sequence[Topic]], None] | None = None
        """Told what any process of this node publishes; for a bridge to other nodes."""
        self._peers: set[_Peer] = set()
        self._server: asyncio.Server | None = None

    def bring(self, topics: Sequence[Topic]) -> None:
        """Hints of another node, for all processes of this one; nothing of it goes outward again. On the loop."""
        for peer in self._peers:
            peer.send(topics)
        deliver(self._bus, topics)

    async def start(self) -> None:
        """Accept fronts from now on."""
        self._bus.relay = self._broadcast
        self._server = await asyncio.get_running_loop().create_unix_server(self._accept, sock=self._listener)

    def close(self) -> None:
        """Cut all fronts off."""
        self._bus.relay = None
        if self._server is not None:
            self._server.close()
        for peer in tuple(self._peers):
            peer.abort()

    def _accept(self) -> _Peer:
        return _Peer(self._received, self._peers.add, self._peers.discard)

    def _received(self, source: _Peer, topics: Sequence[Topic]) -> None:
        for peer in self._peers:
            if peer is not source:
                peer.send(topics)
        deliver(self._bus, topics)
        if self.outward is not None:
            self.outward(topics)

    def _broadcast(self, topics: Sequence[Topic]) -> None:
        for peer in self._peers:
            peer.send(topics)
        if self.outward is not None:
            self.outward(topics)


class HubClient:
    """A front's end."""

    def __init__(self, bus: LocalBus, connect: Connect, clock: Clock) -> None:
        self._bus = bus
        self._connect = connect
        self._clock = clock
        self._peer: _Peer | None = None
        self._queue_told = False
        """Within the last moment; and whether there was more of it since."""
        self._queue_news = False

    async def run(self) -> None:
        """Stay connected until cancelled."""
        self._bus.relay = self._relay
        wait_seconds = _FIRST_RETRY_SECONDS
        try:
            while True:
                lost = asyncio.Event()
                with suppress(OSError):
                    await self._join(lost)
                    wait_seconds = _FIRST_RETRY_SECONDS
                    self._bus.resync()
                    await lost.wait()
                await self._clock.sleep(wait_seconds)
                wait_seconds = min(2 * wait_seconds, _LAST_RETRY_SECONDS)
        finally:
            self._bus.relay = None
            if self._peer is not None:
                self._peer.abort()

    async def _join(self, lost: asyncio.Event) -> None:
        def made(peer: _Peer) -> None:
            self._peer = peer
            # What was published here while cut off reached nobody else.
            peer.send((RESYNC,))

        def gone(_: _Peer) -> None:
            self._peer = None
            lost.set()

        connection = self._connect()
        try:
            await asyncio.get_running_loop().create_unix_connection(
                lambda: _Peer(self._received, made, gone), sock=connection
            )
        except BaseException:
            connection.close()
            raise

    def _relay(self, topics: Sequence[Topic]) -> None:
        if self._peer is None:
            return
        if QUEUE_TOPIC in topics:
            if self._queue_told:
                self._queue_news = True
                topics = [topic for topic in topics if topic != QUEUE_TOPIC]
            else:
                self._queue_told = True
                asyncio.get_running_loop().call_later(_QUEUE_SECONDS, self._tell_queue_again)
        if topics:
            self._peer.send(topics)

    def _tell_queue_again(self) -> None:
        self._queue_told = False
        if self._queue_news:
            self._queue_news = False
            self._relay((QUEUE_TOPIC,))

    def _received(self, _: _Peer, topics: Sequence[Topic]) -> None:
        deliver(self._bus, topics)


class _Peer(asyncio.Protocol):
    """One connection: lines in, lines out, neither end's memory grows."""

    def __init__(
        self,
        received: Callable[[_Peer, Sequence[Topic]], None],
        made: Callable[[_Peer], None],
        gone: Callable[[_Peer], None],
    ) -> None:
        self._received = received
        self._made = made
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._behind = False
        self._lost_hints = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        self._made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other process is gone."""
        self._transport = None
        self._gone(self)

    def data_received(self, data: bytes) -> None:
        """Whole lines are passed on, a rest waits for its end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            self.abort()
            return
        if lines:
            self._received(self, tuple(dict.fromkeys(line.decode("utf-8", "replace") for line in lines)))

    def pause_writing(self) -> None:
        """The other side reads too slowly: drop from now on."""
        self._behind = True

    def resume_writing(self) -> None:
        """It reads again."""
        self._behind = False
        if self._lost_hints:
            self._lost_hints = False
            self.send((RESYNC,))

    def send(self, topics: Sequence[Topic]) -> None:
        """One line per topic, written at once."""
        if self._behind:
            self._lost_hints = True
        elif self._transport is not None:
            self._transport.write("".join(f"{topic}\n" for topic in topics).encode())

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()
