"""News of another user's mailbox while the store cannot tell what may be done there: no busy loop, no lost news."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.services.imap import session as module
from tests.support.imap_server import imap_server


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


async def test_a_store_in_trouble_is_asked_once_for_each_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def rights_in(*_: object) -> str:
        asked.append(1)
        raise StoreError("store.busy", "busy", temporary=True)

    async with imap_server(tmp_path) as server:
        alice, bob = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        async with asyncio.timeout(10):
            alice[1].write(b"a LOGIN alice secret\r\nb SETACL INBOX bob lr\r\n")
            await alice[0].readuntil(b"b OK")
            bob[1].write(b"a LOGIN bob secret\r\nb SELECT Users/alice@example.org/INBOX\r\nc IDLE\r\n")
            await bob[0].readuntil(b"+ idling")
            (session,) = [each for each in server.service._sessions if each.idle_tag]
            await _until(lambda: not session.running)
            with monkeypatch.context() as patch:
                patch.setattr(module, "rights_in", rights_in)
                alice[1].write(b"c APPEND INBOX {4+}\r\na:b\n\r\n")
                await alice[0].readuntil(b"c OK")
                await _until(lambda: bool(asked) and not session.running)
            assert len(asked) <= 2
            session.poll("another stamp")
            await bob[0].readuntil(b"* 1 EXISTS")
        alice[1].close()
        bob[1].close()
