"""Connections through proxies, over real sockets: who the client is, and who is cut off."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from mailbox_app.config.schema import Tls
from mailbox_app.net import proxy
from mailbox_app.net.proxy import ProxiedListener, TrustedProxies
from mailbox_app.net.tls import TlsContexts
from tests.proto.test_proxy_header import TCP4, TLV, V4, v2

EVENT_LOOPS = {"asyncio": asyncio.DefaultEventLoopPolicy, "uvloop": uvloop.EventLoopPolicy}


@pytest.fixture(params=EVENT_LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return EVENT_LOOPS[request.param]()


class Telling(asyncio.Protocol):
    """Greets, then tells the client's address with everything that it says."""

    def __init__(self) -> None:
        self.proxied_ip = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"hello\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.proxied_ip.encode() + b" said " + data)  # type: ignore[attr-defined]


@asynccontextmanager
async def listening(trusted: Sequence[str], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    server = ProxiedListener(
        "smtp",
        listener,
        Telling,
        TrustedProxies(trusted),
        None if tls is None else lambda: tls,
        handshake_seconds=5.0,
        shutdown_seconds=1.0,
    )
    server.start()
    try:
        yield port
    finally:
        server.close()
        await asyncio.sleep(0)


async def said(port: int, *pieces: bytes, until: bytes = b"\n.\n") -> bytes:
    """What a client hears that says these pieces, to the end marker or the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while until not in heard and (got := await reader.read(1000)):
                heard += got
    except ConnectionError:
        return heard
    finally:
        writer.close()
    return heard


@pytest.mark.parametrize("header", [V4, v2(0x21, 0x11, TCP4), v2(0x21, 0x11, TCP4 + TLV)], ids=["v1", "v2", "TLVs"])
@pytest.mark.parametrize("cut", [None, 1, 20])
async def test_the_client_is_who_the_header_says(header: bytes, cut: int | None) -> None:
    data = header + b"EHLO\n.\n"
    pieces = [data] if cut is None else [data[:cut], data[cut:]]
    async with listening(["127.0.0.1"]) as port:
        assert await said(port, *pieces) == b"hello\n192.0.2.7 said EHLO\n.\n"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0x20, 0, b"")], ids=["unknown", "local"])
async def test_a_proxy_that_speaks_for_itself_is_its_own_client(header: bytes) -> None:
    async with listening(["127.0.0.0/8"]) as port:
        assert await said(port, header + b"NOOP\n.\n") == b"hello\n said NOOP\n.\n"


@pytest.mark.parametrize(
    "first", [b"EHLO x\r\n", b"PROXY TCP4 x\r\n", v2(0x22, 0x11, TCP4), b"PROXY " + b"x" * 500, b"\x16\x03\x01"]
)
async def test_a_proxy_without_a_proper_header_is_cut_off(first: bytes) -> None:
    with capture_logs() as lines:
        async with listening(["127.0.0.1"]) as port:
            assert await said(port, first) == b""
    assert [line["event"].startswith("a proxy in proxy.trusted_networks must send") for line in lines] == [True]


async def test_a_proxy_that_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "HEADER_SECONDS", 0.01)
    with capture_logs() as lines:
        async with listening(["127.0.0.1"]) as port:
            assert await said(port, b"PROXY TCP4 ") == b""
    assert "none came in time" in lines[0]["event"]


@pytest.mark.parametrize("header", [V4, v2(0x21, 0x11, TCP4)], ids=["v1", "v2"])
async def test_nobody_else_may_say_who_he_is(header: bytes) -> None:
    with capture_logs() as lines:
        async with listening(["192.0.2.0/24"]) as port:
            assert b"said" not in await said(port, header + b"EHLO\n.\n")
    assert "not in proxy.trusted_networks" in lines[0]["event"]
    assert lines[0]["remote"] == "127.0.0.1"


async def test_everybody_else_is_served_as_ever() -> None:
    async with listening(["192.0.2.0/24", "2001:db8::/32"]) as port:
        assert await said(port, b"EHLO\n.\n") == b"hello\n said EHLO\n.\n"


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client = ssl.create_default_context()
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return TlsContexts(Tls(), folder, "mail.example.org").server_context(), client


@pytest.mark.parametrize("header", [V4, v2(0x21, 0x11, TCP4 + TLV)], ids=["v1", "v2"])
async def test_the_header_comes_before_tls(header: bytes, tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    async with listening(["127.0.0.1"], server) as port, asyncio.timeout(10):
        loop = asyncio.get_running_loop()
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        await loop.sock_sendall(connection, header)
        reader, writer = await asyncio.open_connection(sock=connection, ssl=client, server_hostname="x")
        assert await reader.readline() == b"hello\n"
        writer.write(b"EHLO\n")
        assert await reader.readline() == b"192.0.2.7 said EHLO\n"
        writer.close()


async def test_under_tls_too_nobody_else_may_say_who_he_is(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    with capture_logs() as lines:
        async with listening(["192.0.2.1"], server) as port, asyncio.timeout(10):
            assert await said(port, V4) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="x")
            assert await reader.readline() == b"hello\n"
            writer.close()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "a PROXY header came from an address that is not in proxy.trusted_networks: connection closed"
    ]


def test_networks_of_both_families_are_told_apart() -> None:
    trusted = TrustedProxies(["192.0.2.0/24", "2001:db8::1"])
    for address, is_trusted in {
        "192.0.2.9": True,
        "::ffff:192.0.2.9": True,
        "192.0.3.9": False,
        "2001:db8::1": True,
        "2001:db8::2": False,
        "fe80::1%eth0": False,
        "": False,
    }.items():
        assert (address in trusted) is is_trusted
