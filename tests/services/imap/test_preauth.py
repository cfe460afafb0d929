"""Sessions that begin logged in, over a Unix socket."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailbox_app.net import unix_socket
from tests.support.imap_server import ImapServer, imap_server


@asynccontextmanager
async def preauth(folder: Path) -> AsyncIterator[ImapServer]:
    async with imap_server(folder, require_tls=True) as server:
        listener = unix_socket.listen(folder / "imap.sock")
        unix = await asyncio.get_running_loop().create_unix_server(server.service.factory("preauth"), sock=listener)
        try:
            yield server
        finally:
            unix.close()


async def said(folder: Path, *pieces: bytes) -> list[str]:
    """All lines of a conversation whose client says these things, then nothing more."""
    reader, writer = await asyncio.open_unix_connection(folder / "imap.sock")
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write_eof()
    async with asyncio.timeout(10):
        data = await reader.read()
    writer.close()
    return data.decode().splitlines()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"alice@example.org\na SELECT INBOX\r\nb LOGOUT\r\n"],
        [b"alice@exa", b"mple.org\r", b"\n", b"a SELECT INBOX\r\nb LOGOUT\r\n"],
    ],
)
async def test_who_is_known_begins_logged_in(tmp_path: Path, pieces: list[bytes]) -> None:
    async with preauth(tmp_path):
        lines = await said(tmp_path, *pieces)
    assert lines[0].startswith("* PREAUTH [CAPABILITY IMAP4rev1")
    assert "AUTH=" not in lines[0]
    assert any(line.startswith("a OK [READ-WRITE]") for line in lines)
    assert lines[-1].startswith("b OK")


async def test_an_unknown_or_disabled_account_is_refused(tmp_path: Path) -> None:
    async with preauth(tmp_path) as server:
        server.passwords.disable("bob")
        for name in (b"nobody@example.org", b"bob@example.org", b"", b"\0\xff"):
            (line,) = await said(tmp_path, name + b"\na SELECT INBOX\r\n")
            assert line == "* BYE There is no such account, or it is disabled"


async def test_nothing_but_an_address_comes_first(tmp_path: Path) -> None:
    async with preauth(tmp_path):
        (line,) = await said(tmp_path, b"x" * 5_000)
    assert line.startswith("* BYE")


async def test_other_users_of_the_machine_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.services.imap.preauth._peer_uid", lambda connection: os.geteuid() + 1)
    async with preauth(tmp_path):
        (line,) = await said(tmp_path)
    assert line == "* BYE You may not read other people's mail"
