"""A selected mailbox that another session deletes in the middle of a command."""

import asyncio
from pathlib import Path

import pytest

from mailbox_app.services.imap.commands import store as module
from tests.support.imap_server import imap_server


async def test_new_keywords_for_a_mailbox_deleted_meanwhile_leave_its_flags_answerable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with imap_server(tmp_path) as server, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"a LOGIN alice secret\r\nb CREATE gone\r\nc APPEND gone ($Old) {4+}\r\na:b\n\r\nd SELECT gone\r\n"
        )
        await reader.readuntil(b"d OK")
        change = module._change

        def delete_behind(account, view, *rest):  # type: ignore[no-untyped-def]
            result = change(account, view, *rest)
            account.delete("gone")
            return result

        monkeypatch.setattr(module, "_change", delete_behind)
        writer.write(b"e STORE 1 +FLAGS ($New)\r\n")
        told = await reader.read()  # no flag list without the keywords that messages still show
        assert b"* FLAGS" not in told
        assert told.endswith(b"* BYE Selected mailbox was deleted\r\n")
        writer.close()
