"""What sessions that wait keep, and what it costs to look after them."""

import asyncio
from pathlib import Path

import pytest

from mailbox_app.services.imap.server import POLL_SECONDS
from mailbox_app.services.imap.session import Session
from mailbox_app.store.maildir.account import MaildirAccount
from tests.support.clock import FakeClock
from tests.support.imap_server import PASSWORD, ImapServer, imap_server

MESSAGE = b"Subject: x\r\n\r\ny\r\n"


async def _client(server: ImapServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(f"a LOGIN alice {PASSWORD}\r\n".encode())
    await reader.readline()
    return reader, writer


async def _until(reader: asyncio.StreamReader, start: bytes) -> list[bytes]:
    lines = []
    async with asyncio.timeout(10):
        while not lines or not lines[-1].startswith(start):
            lines.append(await reader.readline())
    return lines


def _only(server: ImapServer) -> Session:
    (session,) = server.service._sessions
    return session


async def _poll(server: ImapServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whole poll, and what comes of it."""
    polled: list[object] = []
    real = Session.poll

    def poll(self: Session, stamp: object) -> None:
        real(self, stamp)
        polled.append(stamp)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "poll", poll)
        async with asyncio.timeout(10):
            for _ in range(int(POLL_SECONDS)):
                await clock.advance(5)
                for _ in range(50):
                    await asyncio.sleep(0.001)
                    if polled and not _only(server).running:
                        return
    raise AssertionError("nothing was polled")


async def test_polling_opens_no_index_and_a_change_by_files_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    looks: list[object] = []
    real = MaildirAccount.changes
    monkeypatch.setattr(MaildirAccount, "changes", lambda self, *args: looks.append(args) or real(self, *args))
    async with imap_server(tmp_path, clock=clock) as server:
        reader, writer = await _client(server)
        writer.write(b"b SELECT INBOX\r\nc IDLE\r\n")
        await _until(reader, b"+ idling")
        for _ in range(2):  # what opening, selecting and closing wrote is looked at once
            await _poll(server, clock, monkeypatch)
            server.store.let_go(-1.0)
        looks.clear()
        for _ in range(3):
            await _poll(server, clock, monkeypatch)
        assert looks == []
        assert not server.store._handles._open
        account = next(path for path in tmp_path.rglob("Maildir") if "alice" in str(path))  # noqa: ASYNC240
        (account / "new" / "1.a.b").write_bytes(MESSAGE)
        await _poll(server, clock, monkeypatch)
        assert (await _until(reader, b"* 1 RECENT"))[0] == b"* 1 EXISTS\r\n"
        writer.close()


async def test_an_idle_session_keeps_no_big_mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.services.imap.following._KEPT_WHEN_IDLE", 2)
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock) as server:
        reader, writer = await _client(server)
        append = b"b APPEND INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE)
        writer.write(append * 3 + b"c SELECT INBOX\r\nd FETCH 1:* FLAGS\r\ne IDLE\r\n")
        await _until(reader, b"+ idling")
        view = _only(server).view
        assert view.blocks.missing(None) == []
        for _ in range(2):
            await _poll(server, clock, monkeypatch)
        assert view.blocks.missing(None) == [0]
        writer.write(b"DONE\r\nf FETCH 1:* UID\r\n")
        assert [line for line in await _until(reader, b"f OK") if b"UID" in line] == [
            b"* %d FETCH (UID %d)\r\n" % (number, number) for number in (1, 2, 3)
        ]
        writer.close()
