"""Sessions and a service of a toy protocol: it answers each line with the same line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog

from mailbox_app.net.service import (
    LOGIN_SECONDS,
    SWEEP_SECONDS,
    Goodbye,
    Goodbyes,
    Places,
    ServedSession,
    SessionService,
)
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.pop3.framing import LineFramer
from tests.support.clock import FakeClock, settle


class Echo(ServedSession[LineFramer]):
    __slots__ = ("left",)

    autologout_seconds = 600.0
    goodbyes = Goodbyes(too_many="full", idle="idle", login_ended="ended", shutdown="shutdown", fault="fault")

    def __init__(self, service: EchoService) -> None:
        super().__init__(LineFramer(100), service)
        self.left = False

    def greet(self) -> None:
        self.write(b"hello\n")
        self.flush()

    def say_goodbye(self, text: str) -> None:
        self.write(text.encode() + b"\n")
        self.close()

    def leave(self) -> None:
        self.left = True

    async def run(self) -> None:
        while not self.closed and (line := self.framer.next_line()) is not None:
            assert isinstance(line, bytes)
            await self.guarded(self.answer(line))
        self.flush()
        self.leave_when_told()

    async def answer(self, line: bytes) -> None:
        if line == b"login":
            self.end_login()
            self.expire_in(self.autologout_seconds)
        elif line == b"bye":
            raise Goodbye("as you wish")
        elif line == b"break":
            raise RuntimeError("ours")
        self.write(line + b"\n")
        await self.drain()


class EchoService(SessionService[Echo]):
    protocol = "pop3"

    def __init__(self, clock: FakeClock) -> None:
        self.refused: set[Echo] = set()
        self.callbacks: list[Callable[[], None]] = []
        metrics = Metrics()
        super().__init__(
            clock=clock,
            metrics=metrics,
            log=structlog.get_logger("echo"),
            places=Places(total=2, per_address=1),
            commands=metrics.pop3_commands,
            verbs=["LINE"],
            subscribe=self.subscribed,
        )

    def subscribed(self, callback: Callable[[], None]) -> EchoService:
        self.callbacks.append(callback)
        return self

    def close(self) -> None:
        self.callbacks.clear()

    def why_not(self, session: Echo) -> str:
        return session.goodbyes.login_ended if session in self.refused else ""


class Peer(asyncio.Transport):
    """The other side, which keeps what it gets."""

    def __init__(self, service: EchoService, remote_ip: str = "127.0.0.1") -> None:
        super().__init__({"peername": (remote_ip, 40_000)})
        self.said = b""
        self.cut = False
        self.session = Echo(service)
        self.session.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += bytes(data)

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self.session.connection_lost, None)

    def abort(self) -> None:
        self.cut = True
        self.close()


@pytest.mark.parametrize(
    ("line", "answer"), [(b"x\n", b"x\n"), (b"bye\nx\n", b"as you wish\n"), (b"break\nx\n", b"fault\n")]
)
async def test_a_session_answers_until_it_is_over(line: bytes, answer: bytes) -> None:
    service = EchoService(FakeClock())
    peer = Peer(service)
    peer.session.data_received(line)
    await settle()
    assert peer.said == b"hello\n" + answer
    assert peer.session.left is (answer != b"x\n")
    assert service.connections == (answer == b"x\n")


async def test_places_end_in_all_and_for_one_stranger() -> None:
    service = EchoService(FakeClock())
    peers = [Peer(service, "192.0.2.1"), Peer(service, "192.0.2.1")]
    await settle()
    assert [peer.said for peer in peers] == [b"hello\n", b"full\n"]
    others = [Peer(service), Peer(service)]
    assert [peer.said for peer in others] == [b"hello\n", b"full\n"]
    await settle()
    assert service.connections == 2


async def test_commands_do_not_put_the_end_of_the_login_off() -> None:
    clock = FakeClock()
    service = EchoService(clock)
    late, early = Peer(service), Peer(service)
    await settle()
    late.session.expire_in(10 * LOGIN_SECONDS)
    early.session.data_received(b"login\n")
    await settle()
    for _ in range(int((LOGIN_SECONDS + SWEEP_SECONDS) / SWEEP_SECONDS)):
        await clock.advance(SWEEP_SECONDS)
        await settle()
    assert (late.said, early.said) == (b"hello\nidle\n", b"hello\nlogin\n")


async def test_a_change_of_the_directory_ends_logins_that_count_no_more() -> None:
    service = EchoService(FakeClock())
    kept, ended = Peer(service), Peer(service)
    service.refused.add(ended.session)
    service.callbacks[0]()
    await settle()
    assert (kept.said, ended.said) == (b"hello\n", b"hello\nended\n")


async def test_a_drain_ends_everybody_and_lets_nobody_in() -> None:
    service = EchoService(FakeClock())
    peer = Peer(service)
    await service.drain(1.0)
    late = Peer(service)
    assert (peer.said, late.said) == (b"hello\nshutdown\n", b"full\n")
    assert not peer.cut
    assert not service.callbacks
