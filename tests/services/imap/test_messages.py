"""Messages that come and go while they are read and written: files gone, expunges by others, concatenations, framing."""

import asyncio
import random
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.maildir.backend import MaildirStore
from tests.services.imap.test_session import connected
from tests.support.imap_server import ImapServer, imap_server


def files_of(folder: Path, mailbox: str = "") -> list[Path]:
    return sorted(path for path in folder.glob(f"**/Maildir/{mailbox}cur/*") if path.is_file())


def staged_in(folder: Path) -> list[Path]:
    return list(folder.glob("**/Maildir/tmp/*"))


async def test_a_message_whose_file_is_gone_is_told_and_leaves_the_mailbox(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        for number in range(3):
            await client.command("APPEND INBOX", literal=b"n: %d" % number)
        await client.select()
        (gone,) = [path for path in files_of(tmp_path) if path.read_bytes() == b"n: 1"]
        gone.unlink()
        answer = await client.command("UID FETCH 1:3 BODY.PEEK[]")
        assert answer[-1].startswith("t6 NO [EXPUNGEISSUED]")
        assert [line for line in answer if "FETCH (" in line] == [
            "* 1 FETCH (UID 1 BODY[] {4}",
            "* 3 FETCH (UID 3 BODY[] {4}",
        ]
        news = await client.command("NOOP")
        assert "* 2 EXPUNGE" in answer + news
        assert [line for line in await client.command("UID FETCH 1:3 BODY.PEEK[]") if "FETCH (" in line] == [
            "* 1 FETCH (UID 1 BODY[] {4}",
            "* 2 FETCH (UID 3 BODY[] {4}",
        ]


@pytest.mark.parametrize("items", ["BODY.PEEK[]", "ENVELOPE", "BINARY.SIZE[1]", "PREVIEW", "RFC822.HEADER"])
async def test_what_another_session_expunged_is_left_out_and_keeps_its_number(tmp_path: Path, items: str) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client, connected(server) as other:
        await client.login()
        await other.login()
        for number in range(3):
            await client.command("APPEND INBOX", literal=b"n: %d" % number)
        await client.select()
        await other.select()
        await other.command("STORE 2 +FLAGS.SILENT (\\Deleted)")
        await other.command("EXPUNGE")
        answer = await client.command(f"FETCH 1:3 {items}")
        assert " NO [EXPUNGEISSUED]" in answer[-1]
        assert [line.split(" FETCH")[0] for line in answer if " FETCH (" in line] == ["* 1", "* 3"]
        assert "* 2 EXPUNGE" in await client.command("NOOP")


async def read_message(server: ImapServer, mailbox: str, uid: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"a LOGIN alice secret\r\nb EXAMINE %b\r\nc UID FETCH %d BODY.PEEK[]\r\n" % (mailbox.encode(), uid))
    async with asyncio.timeout(10):
        await reader.readuntil(b"b OK")
        await reader.readuntil(b"BODY[] {")
        size = int((await reader.readline()).rstrip(b"}\r\n"))
        data = await reader.readexactly(size)
    writer.close()
    return data


async def test_catenate_is_the_concatenation(tmp_path: Path) -> None:
    chance = random.Random(5)
    source = b"Subject: x\r\n\r\n" + bytes(chance.randrange(32, 127) for _ in range(30_000))
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await client.command("APPEND INBOX", literal=source)
        for uid in range(1, 16):
            words, wanted = [], b""
            for _ in range(chance.randint(1, 6)):
                if chance.random() < 0.5:
                    text = bytes(chance.randrange(1, 256) for _ in range(chance.randint(1, 300)))
                    words.append(b"TEXT {%d+}\r\n%b" % (len(text), text))
                    wanted += text
                else:
                    start, size = chance.randint(0, 31_000), chance.randint(1, 20_000)
                    words.append(b"URL /INBOX/;UID=1/;PARTIAL=%d.%d" % (start, size))
                    wanted += source[start : start + size]
            client.writer.write(b"x%d APPEND Drafts CATENATE (%b TEXT {2+}\r\n. )\r\n" % (uid, b" ".join(words)))
            async with asyncio.timeout(10):
                assert b" OK [APPENDUID" in await client.reader.readline()
            assert await read_message(server, "Drafts", uid) == wanted + b". "


async def answers(server: ImapServer, data: bytes, *, bytewise: bool) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    pieces = [data[i : i + 1] for i in range(len(data))] if bytewise else [data]
    for number, piece in enumerate(pieces):
        writer.write(piece)
        if number % 20 == 0:
            await writer.drain()
            await asyncio.sleep(0)
    async with asyncio.timeout(20):
        said = await reader.read(1 << 20)
        while not said.endswith(b"LOGOUT done\r\n"):
            more = await reader.read(1 << 20)
            assert more, said
            said += more
    writer.close()
    return b"\n".join(line for line in said.split(b"\r\n") if not line.startswith(b"* "))


async def test_appends_mean_the_same_whole_and_byte_by_byte(tmp_path: Path) -> None:
    commands = (
        b"a LOGIN alice secret\r\n"
        b"b APPEND Drafts {3+}\r\na:b {3+}\r\nc:d\r\n"
        b"c APPEND Drafts CATENATE (TEXT {3+}\r\na:b URL {14+}\r\n/Drafts/;UID=1 TEXT {2+}\r\n\r\n)\r\n"
        b"d APPEND Drafts ~{3+}\r\na\0b\r\n"
        b"e APPEND Drafts (\\Bad) {9+}\r\nf NOOP\r\n\r\n"
        b"g APPEND Drafts UTF8 (~{4+}\r\na:\xc3\xa4)\r\n"
        b"h APPEND Drafts {3+}\r\na:b garbage {8+}\r\ni EVIL\r\n\r\n"
        b"j APPEND Drafts {9+}\r\nk EVIL\r\n\n {100001}\r\n"
        b"l STATUS Drafts (MESSAGES)\r\nm LOGOUT\r\n"
    )
    outcomes = []
    for bytewise in (False, True):
        folder = tmp_path / str(bytewise)
        folder.mkdir()
        async with imap_server(folder) as server:
            said = await answers(server, commands, bytewise=bytewise)
            assert b"EVIL" not in said
            outcomes.append([line.split(b" ")[:2] for line in said.split(b"\n") if line])
    assert outcomes[0] == outcomes[1]
    assert [b" ".join(line).decode() for line in outcomes[0]] == [
        "a OK", "b OK", "c OK", "d NO", "e BAD", "g OK", "h BAD", "j NO", "l OK", "m OK",
    ]  # fmt: skip


async def test_nothing_of_several_is_stored_when_the_store_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        real = MaildirStore.stage
        calls = 0

        def failing(self: MaildirStore, *args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise StoreError("store.full", "storage is full or not writable now", temporary=True)
            return real(self, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(MaildirStore, "stage", failing)
        client.writer.write(b"x APPEND INBOX {3+}\r\na:1 {3+}\r\na:2 {3+}\r\na:3\r\ny NOOP\r\n")
        assert (await client.reader.readline()).startswith(b"x NO [")
        assert await client.reader.readline() == b"y OK NOOP done\r\n"
        assert files_of(tmp_path) == []
        assert staged_in(tmp_path) == []

        def refuse(self: MaildirAccount, *args: object, **kwargs: object) -> object:
            raise StoreError("store.busy", "busy", temporary=True)

        monkeypatch.undo()
        monkeypatch.setattr(MaildirAccount, "append", refuse)
        client.writer.write(b"x APPEND INBOX {3+}\r\na:1 {3+}\r\na:2\r\n")
        assert (await client.reader.readline()).startswith(b"x NO [INUSE]")
