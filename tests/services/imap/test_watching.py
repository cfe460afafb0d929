"""NOTIFY where a dialog cannot say it: shared mailboxes, too much news, one look for many sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.model import MailboxInfo
from tests.services.imap.test_session import Client, connected
from tests.support.imap_server import imap_server


async def line(client: Client) -> str:
    async with asyncio.timeout(10):
        return (await client.reader.readline()).decode().rstrip("\r\n")


async def test_shared_mailboxes_are_watched_and_appear_and_vanish(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as owner, connected(server) as guest:
        await owner.login("alice")
        await guest.login("bob")
        await owner.command("CREATE Team")
        await owner.command("SETACL INBOX bob l")
        answer = await guest.command("NOTIFY SET (subtree Users (MailboxName MessageNew MessageExpunge FlagChange))")
        assert " OK " in answer[-1]
        await owner.command("SETACL Team bob lr")
        assert await line(guest) == '* LIST (\\HasNoChildren) "/" Users/alice@example.org/Team'
        await owner.command("APPEND Team", literal=b"Subject: x\r\n\r\ntext")
        assert (await line(guest)).startswith("* STATUS Users/alice@example.org/Team (MESSAGES 1 UIDNEXT 2 ")
        await owner.command("SELECT Team")
        await owner.command("STORE 1 +FLAGS.SILENT (\\Seen)")
        assert "UNSEEN 0" in await line(guest)
        await owner.command("SETACL Team bob l")
        await owner.command("APPEND Team", literal=b"Subject: y\r\n\r\ntext")
        await owner.command("DELETEACL Team bob")
        assert await line(guest) == '* LIST (\\NonExistent) "/" Users/alice@example.org/Team'


async def test_more_news_than_lines_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.services.imap.watching._MAX_LINES", 2)
    async with imap_server(tmp_path) as server, connected(server) as busy, connected(server) as watching:
        await busy.login()
        await watching.login()
        for name in ("a/b", "a/c"):
            await busy.command(f"CREATE {name}")
        await watching.command("NOTIFY SET (personal (MailboxName))")
        await busy.command("RENAME a z")  # three names at once
        assert "[NOTIFICATIONOVERFLOW]" in await line(watching)
        await busy.command("CREATE more")
        assert len(await watching.command("NOOP")) == 1
        session = next(each for each in server.service._sessions if each.account is not None and each.watch is None)
        assert session.watch is None


async def test_sessions_that_hear_one_hint_share_its_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    read = MaildirAccount.mailboxes

    def counted(self: MaildirAccount) -> Sequence[MailboxInfo]:
        nonlocal looks
        looks += 1
        return read(self)

    async with (
        imap_server(tmp_path) as server,
        connected(server) as busy,
        connected(server) as one,
        connected(server) as two,
        connected(server) as three,
    ):
        await busy.login()
        for client in (one, two, three):
            await client.login()
            await client.command("NOTIFY SET (personal (MessageNew MessageExpunge))")
        monkeypatch.setattr(MaildirAccount, "mailboxes", counted)
        await busy.command("APPEND Sent", literal=b"Subject: x\r\n\r\ntext")
        for client in (one, two, three):
            assert (await line(client)).startswith("* STATUS Sent (MESSAGES 1 ")
        assert looks == 1


async def test_a_watch_ends_with_its_session(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as other:
        await other.login()
        async with connected(server) as client:
            await client.login()
            await client.command("NOTIFY SET (personal (MessageNew MessageExpunge))")
            assert sum(map(len, server.bus._subscribers.values())) == 2  # the directory's and this one
        async with asyncio.timeout(10):
            while sum(map(len, server.bus._subscribers.values())) != 1:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
        await other.command("APPEND Sent", literal=b"Subject: x\r\n\r\ntext")
        assert server.service.connections == 1
