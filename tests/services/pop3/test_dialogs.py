"""Every `pop3_*.dialog` against the real service."""

import asyncio
from pathlib import Path

import pytest

from tests.support.dialog import Dialog
from tests.support.pop3_server import pop3_server

DIALOGS = sorted((Path(__file__).parents[2] / "dialogs").glob("pop3_*.dialog"))


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog(path: Path, tmp_path: Path) -> None:
    dialog = Dialog(path)
    async with pop3_server(tmp_path, require_tls=dialog.requires_tls) as server:

        async def mail(text: str) -> None:
            """`@ mail <text with Python's escapes>`: a message for alice."""
            data = text.encode("latin-1").decode("unicode_escape").encode("latin-1")
            await asyncio.to_thread(server.add, data)

        async def removed(text: str) -> None:
            """`@ removed <uid>`: an IMAP session expunges it."""
            await asyncio.to_thread(server.remove, int(text))

        async def rebuilt(_: str) -> None:
            """`@ rebuilt`: the index is made anew."""
            await asyncio.to_thread(server.store.flush_names)
            await asyncio.to_thread(server.store.rebuild, server.ref())

        await dialog.run(server.port, {"mail": mail, "removed": removed, "rebuilt": rebuilt})
