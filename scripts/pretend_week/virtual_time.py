"""A loop whose time jumps to the next timer when nothing is left to do, and a network inside it: a week passes in seconds.

Everything that waits on the loop (`asyncio.sleep`, `asyncio.timeout`, `call_later`) waits in this time, so the product's own
deadlines are real deadlines of it. `create_connection` leads to pretend hosts; no socket is ever opened.
"""

from __future__ import annotations

import asyncio
import errno
import os
import selectors
import threading
from asyncio.protocols import BufferedProtocol, _feed_data_to_buffered_proto
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
_AWAY_SECONDS = 0.02
"""How far away every host is."""
_STUCK_TURNS = 200
_STUCK_SECONDS = 0.05


class _Selector(selectors.DefaultSelector):
    """Does not wait: the loop's time goes on instead."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time
        self._stuck = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; time passes when nothing is."""
        found = super().select(0)
        if found or timeout == 0:
            self._stuck = 0
        elif timeout is not None:
            self._stuck = 0
            self._pass_time(timeout)
        else:
            self._stuck += 1
            if self._stuck > _STUCK_TURNS:
                raise RuntimeError("everybody waits for somebody else")
            return super().select(_STUCK_SECONDS)
        return found


class PretendLoop(asyncio.SelectorEventLoop):
    """A loop with time and a network of its own."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Selector(self.skip))
        self._clock_resolution = 1e-6
        self.network = Network()

    def time(self) -> float:
        """Seconds of the pretend time."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Time passes; what was due meanwhile comes at once, at its end."""
        self._now += seconds

    def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[no-untyped-def, override]
        """As `call_soon` for whoever runs in the loop's own thread, as all pretend threads do."""
        if threading.get_ident() == self._thread_id:  # type: ignore[attr-defined]
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str = "", port: int = 0, **_: object
    ) -> tuple[asyncio.Transport, Any]:
        """To a pretend host."""
        await asyncio.sleep(_AWAY_SECONDS)
        serve = await self.network.reach(host, port)
        ours, theirs = End(self, (host, port)), End(self, ("192.0.2.1", 40_000))
        ours.other, theirs.other = theirs, ours
        reader = asyncio.StreamReader(limit=1 << 20, loop=self)
        greeted = asyncio.StreamReaderProtocol(reader, serve, loop=self)
        protocol = protocol_factory()
        for end, own in ((ours, protocol), (theirs, greeted)):
            end.set_protocol(own)
            own.connection_made(end)
        return ours, protocol


class Network:
    """The hosts there are, by address."""

    def __init__(self) -> None:
        self._hosts: dict[str, Callable[[], Serve | None]] = {}
        self.knocks: dict[str, list[float]] = {}
        """When somebody tried to connect, by address."""

    def add(self, address: str, answer: Callable[[], Serve | None]) -> None:
        """`answer` gives who serves a connection now, None for silence; `ConnectionRefusedError` refuses it."""
        self._hosts[address] = answer

    async def reach(self, address: str, port: int) -> Serve:
        """Who serves this connection; waits for ever where nobody answers."""
        self.knocks.setdefault(address, []).append(asyncio.get_running_loop().time())
        if address not in self._hosts:
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        serve = self._hosts[address]()
        if serve is None:
            await asyncio.Event().wait()
        assert serve is not None
        return serve


class End(asyncio.Transport):
    """One end of a connection inside the loop: an asyncio transport in all its methods."""

    _start_tls_compatible = True

    def __init__(self, loop: PretendLoop, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer, "sockname": ("192.0.2.1", 0)})
        self.other: End
        self._loop = loop
        self._protocol: Any = None
        self._closing = False
        self._paused = False
        self._arrived: list[bytes] = []

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who hears from it."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who hears from it."""
        return self._protocol  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        """Whether nothing more is sent."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether its protocol hears from it."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._paused = True

    def resume_reading(self) -> None:
        """Go on."""
        self._paused = False
        self._loop.call_soon(self._pass_on)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """To the other end, in the next turn."""
        if not self._closing and data:
            self._loop.call_soon(self.other._arrive, bytes(data))

    def can_write_eof(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Of no meaning here."""

    def close(self) -> None:
        """Both ends hear of it."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost)
            self._loop.call_soon(self.other._ended)

    abort = close

    def _arrive(self, data: bytes) -> None:
        self._arrived.append(data)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._arrived and not self._paused and not self._closing:
            data = self._arrived.pop(0)
            if isinstance(self._protocol, BufferedProtocol):
                _feed_data_to_buffered_proto(self._protocol, data)  # type: ignore[no-untyped-call]
            else:
                self._protocol.data_received(data)

    def _ended(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost)

    def _lost(self) -> None:
        self._protocol.connection_lost(None)


class LoopClock:
    """The product's `Clock` in the loop's time."""

    def __init__(self, loop: PretendLoop, start: datetime) -> None:
        self._loop = loop
        self._began = start.timestamp() - loop.time()

    def now(self) -> datetime:
        """An aware UTC datetime."""
        return datetime.fromtimestamp(self.epoch_seconds(), UTC)

    def epoch_seconds(self) -> float:
        """Since 1970."""
        return self._began + self._loop.time()

    def monotonic_seconds(self) -> float:
        """As the loop counts."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class AtOnce:
    """In the place of a pool of threads: each call is carried out where it is asked for, so that every run is the same."""

    def submit(self, call: Callable[[], object]) -> None:
        """Carry it out."""
        call()

    def close(self) -> None:
        """Nothing waits."""
