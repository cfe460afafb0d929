"""A mailbox is its id, whatever it is called: sessions that create, rename and delete at random never meet each other's mail.

Also what two accounts may do in one mailbox, where a dialog cannot say it.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.ids import MailboxId
from mailbox_app.store.notes import ACCOUNT_NOTES
from tests.services.imap.test_session import Client, connected
from tests.support.imap_server import imap_server

NAMES = ("a", "b", "a/x", "b/x", "c")


def word(lines: list[str]) -> str:
    return lines[-1].split(" ", 2)[1]


@pytest.mark.parametrize("seed", range(4))
async def test_a_mailbox_is_its_id_and_not_its_name(tmp_path: Path, seed: int) -> None:
    """An id is given out once and keeps its UIDVALIDITY under all names; no two mailboxes ever share one."""
    source = random.Random(seed)

    async def create(client: Client) -> None:
        answer = (await client.command(f"CREATE {source.choice(NAMES)}"))[-1]
        if found := re.search(r"\[MAILBOXID \((.+?)\)\]", answer):
            assert found[1] not in made, "an id was given out twice"
            made.add(found[1])

    async def rename(client: Client) -> None:
        await client.command(f"RENAME {source.choice(NAMES)} {source.choice(NAMES)}")

    async def delete(client: Client) -> None:
        await client.command(f"DELETE {source.choice(NAMES)}")

    async def look(client: Client) -> None:
        lines = await client.command('LIST "" (a* b* c*) RETURN (STATUS (MAILBOXID UIDVALIDITY))')
        for line in lines:
            if found := re.match(r"\* STATUS \S+ \(MAILBOXID \((.+?)\) UIDVALIDITY (\d+)\)", line):
                assert validities.setdefault(found[1], found[2]) == found[2], "one id, two mailboxes"

    made: set[str] = set()
    validities: dict[str, str] = {}
    async with (
        imap_server(tmp_path) as server,
        connected(server) as one,
        connected(server) as two,
        connected(server) as three,
    ):
        clients = [one, two, three]
        for client in clients:
            await client.login()

        async def work(client: Client) -> None:
            for _ in range(25):
                await source.choice((create, create, rename, delete, look))(client)

        await asyncio.gather(*map(work, clients))
        lines = await one.command('LIST "" * RETURN (STATUS (MAILBOXID))')
        ids = [line for line in lines if line.startswith("* STATUS")]
        assert len({line.split("MAILBOXID")[1] for line in ids}) == len(ids), "two mailboxes with one id"
        account = server.passwords.account_by_address("alice@example.org")
        assert account is not None
        assert not await asyncio.to_thread(server.store.check, account.ref)
        await asyncio.to_thread(server.store.rebuild, account.ref)
        after = await one.command('LIST "" * RETURN (STATUS (MAILBOXID))')
        assert [line for line in after if line.startswith("* STATUS")] == ids


async def test_a_rename_takes_messages_and_subscriptions_stay_with_the_name(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await client.command("CREATE old")
        await client.command("SUBSCRIBE old")
        await client.command("APPEND old", literal=b"Subject: x\r\n\r\ntext")
        await client.command("RENAME old new")
        assert "MESSAGES 1" in (await client.command("STATUS new (MESSAGES)"))[0]
        assert word(await client.command("CREATE old")) == "OK"
        assert "MESSAGES 0" in (await client.command("STATUS old (MESSAGES)"))[0]
        assert "\\Subscribed" in (await client.command('LIST (SUBSCRIBED) "" old'))[0]


async def test_the_owners_quota_counts_in_a_shared_mailbox(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as owner, connected(server) as guest:
        await owner.login("full")
        await guest.login("bob")
        assert word(await owner.command("SETACL INBOX bob@example.org lri")) == "OK"
        name = "Users/full@example.org/INBOX"
        answer = await guest.command(f"APPEND {name}", literal=b"Subject: much\r\n\r\ntoo much")
        assert "[OVERQUOTA]" in answer[-1]
        answer = await guest.command(f"GETQUOTAROOT {name}")
        assert answer[0] == f'* QUOTAROOT {name} "full@example.org"'
        assert answer[1].startswith('* QUOTA "full@example.org" (STORAGE 0 ')
        await guest.command("APPEND INBOX", literal=b"Subject: mine\r\n\r\ntoo much")
        await guest.select()
        assert "[OVERQUOTA]" in (await guest.command(f"COPY 1 {name}"))[-1]
        assert "[OVERQUOTA]" in (await guest.command(f"MOVE 1 {name}"))[-1]
        assert "MESSAGES 1" in (await guest.command("STATUS INBOX (MESSAGES)"))[0]
    left = await asyncio.to_thread(lambda: [path for path in tmp_path.rglob("tmp/*") if path.is_file()])
    assert left == []


async def test_a_limit_of_messages_is_told_and_kept(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        accounts = server.passwords._accounts
        accounts["alice"] = replace(accounts["alice"], quota_bytes=4096, quota_messages=1)
        await client.login()
        assert word(await client.command("APPEND INBOX", literal=b"Subject: x\r\n\r\ntext")) == "OK"
        lines = await client.command("GETQUOTAROOT INBOX")
        assert lines[1] == '* QUOTA "alice@example.org" (STORAGE 1 4 MESSAGE 1 1)'
        assert "[OVERQUOTA]" in (await client.command("APPEND INBOX", literal=b"Subject: y\r\n\r\ntext"))[-1]


async def test_a_message_keeps_flags_and_date_on_its_way_to_another_account(tmp_path: Path) -> None:
    body = b"Subject: x\r\n\r\ntext"
    async with imap_server(tmp_path) as server, connected(server) as owner, connected(server) as guest:
        await owner.login("alice")
        await guest.login("bob")
        await owner.command("SETACL INBOX bob@example.org lriswte")
        await guest.command('APPEND INBOX (\\Seen work) "01-Feb-2020 10:00:00 +0100"', literal=body)
        await guest.select()
        assert word(await guest.command("MOVE 1 Users/alice@example.org/INBOX")) == "OK"
        await owner.select()
        line = (await owner.command("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)"))[0]
        assert "\\Seen" in line
        assert "work" in line
        assert '"01-Feb-2020 09:00:00 +0000"' in line
        assert f"RFC822.SIZE {len(body)}" in line


async def test_private_annotations_of_a_guest_are_kept_apart_in_the_owners_store(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as owner, connected(server) as guest:
        await owner.login("alice")
        await guest.login("bob")
        await owner.command("SETACL INBOX bob@example.org lr")
        await guest.command('SETMETADATA Users/alice@example.org/INBOX (/private/comment "his")')
        account = server.passwords.account_by_address("alice@example.org")
        assert account is not None
        notes = server.store.notes(account.ref)
        assert notes.annotations(MailboxId(1)) == {"bob@example.org/private/comment": b"his"}
        assert notes.annotations(ACCOUNT_NOTES) == {}
        assert (await owner.command("GETMETADATA INBOX /private/comment"))[0].endswith('("/private/comment" NIL)')


async def test_too_many_annotations_are_refused_with_their_code(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        answer = await client.command("SETMETADATA INBOX (/shared/a", literal=b"x" * 70_000)
        assert "BAD" in answer[-1]
        client.writer.write(b"big SETMETADATA INBOX (/shared/a {70000+}\r\n" + b"x" * 70_000 + b")\r\n")
        while not (line := (await client.reader.readline()).decode()).startswith("big "):
            pass
        assert line == "big NO [METADATA MAXSIZE 65536] Value too large\r\n"
        for start in range(0, 200, 50):
            entries = " ".join(f'/shared/e{number} "x"' for number in range(start, start + 50))
            assert word(await client.command(f"SETMETADATA INBOX ({entries})")) == "OK"
        assert "[METADATA TOOMANY]" in (await client.command('SETMETADATA INBOX (/shared/more "x")'))[-1]


async def test_names_are_utf8_once_enabled(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as new, connected(server) as old:
        await new.login()
        await old.login()
        await new.command("ENABLE UTF8=ACCEPT")
        assert word(await new.command('CREATE "Entw\u00fcrfe & mehr"')) == "OK"
        assert word(await new.command('CREATE "Entwu\u0308rfe & mehr"')) == "NO"
        assert (await new.command('LIST "" Ent*'))[0] == '* LIST (\\HasNoChildren) "/" "Entw\u00fcrfe & mehr"'
        assert (await old.command('LIST "" Ent*'))[0] == '* LIST (\\HasNoChildren) "/" "Entw&APw-rfe &- mehr"'
        assert '"Entw\u00fcrfe & mehr"' in (await new.command('STATUS "Entw\u00fcrfe & mehr" (MESSAGES)'))[0]
        assert '"Entw&APw-rfe &- mehr"' in (await old.command('STATUS "Entw&APw-rfe &- mehr" (MESSAGES)'))[0]
        assert word(await old.command('SELECT "Entw\u00fcrfe & mehr"')) == "BAD"


async def test_guests_of_a_removed_account_are_sent_away(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as owner, connected(server) as guest:
        await owner.login("alice")
        await guest.login("bob")
        await owner.command("SETACL INBOX bob lr")
        await guest.command("SELECT Users/alice@example.org/INBOX")
        del server.passwords._accounts["alice"]
        server.bus.publish(DIRECTORY_TOPIC)
        async with asyncio.timeout(10):
            assert await guest.reader.read() == b"* BYE The selected mailbox is gone\r\n"
            assert await owner.reader.read() == b"* BYE Your login counts no more\r\n"
        async with connected(server) as again:
            await again.login("bob")
            assert len(await again.command('LIST "" Users*')) == 1
