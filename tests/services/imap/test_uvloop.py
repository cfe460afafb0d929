"""The production loop: STARTTLS and implicit TLS go through its own TLS code."""

import asyncio
import ssl
from pathlib import Path

import pytest
import uvloop

from tests.support.dialog import Dialog
from tests.support.imap_server import imap_server

DIALOGS = Path(__file__).parents[2] / "dialogs"


@pytest.mark.parametrize("name", ["imap_starttls", "imap_append", "imap_idle"])
def test_dialog_on_uvloop(name: str, tmp_path: Path) -> None:
    async def run() -> None:
        dialog = Dialog(DIALOGS / f"{name}.dialog")
        async with imap_server(tmp_path, require_tls=dialog.requires_tls) as server:
            await dialog.run(server.port)

    uvloop.run(run())


def test_implicit_tls_is_noticed_and_big_answers_arrive_whole(tmp_path: Path) -> None:
    uvloop.run(_big_answer(tmp_path))


async def _big_answer(tmp_path: Path) -> None:
    async with imap_server(tmp_path, require_tls=True, max_message_bytes=1 << 24) as server:
        loop = asyncio.get_running_loop()
        context = server.service.deps.tls.server_context()
        listener = await loop.create_server(server.service.factory("imaps"), "127.0.0.1", 0, ssl=context)
        client = ssl.create_default_context()
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        port = listener.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        assert b"AUTH=PLAIN" in await reader.readline()
        body = b"Subject: x\r\n\r\n" + bytes(range(1, 256)) * 20_000
        writer.write(b"a LOGIN alice secret\r\nb APPEND INBOX {%d+}\r\n%b\r\nc SELECT INBOX\r\n" % (len(body), body))
        writer.write(b"d FETCH 1 BODY.PEEK[]\r\n")
        await reader.readuntil(b"c OK [READ-WRITE] SELECT done\r\n")
        assert await reader.readline() == b"* 1 FETCH (BODY[] {%d}\r\n" % len(body)
        assert await reader.readexactly(len(body)) == body
        assert await reader.readline() == b")\r\n"
        writer.close()
        listener.close()
