"""What dialogs cannot say: deadlines, drains, locks, faults of the store, big messages, slow readers, hostile input."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.net.connection import READ_SECONDS, WRITE_SECONDS
from mailbox_app.net.service import LOGIN_SECONDS
from mailbox_app.services.pop3.session import AUTOLOGOUT_SECONDS, LINE_BYTES
from mailbox_app.store.maildir import maildrop
from mailbox_app.store.maildir.account import MaildirAccount
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.clock import FakeClock, settle
from tests.support.known_passwords import PASSWORD
from tests.support.pop3_server import Pop3Server, pop3_server


class Client:
    """Speaks lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> bytes:
        async with asyncio.timeout(20):
            return (await self.reader.readline()).removesuffix(b"\r\n")

    async def command(self, text: str) -> str:
        """The first line of the answer."""
        self.writer.write(text.encode() + b"\r\n")
        return (await self.line()).decode()

    async def text(self, text: str) -> bytes:
        """A multi-line answer, dots undone."""
        assert (await self.command(text)).startswith("+OK")
        lines = []
        while (line := await self.line()) != b".":
            lines.append(line.removeprefix(b".") + b"\r\n")
        return b"".join(lines)

    async def login(self, name: str = "alice") -> str:
        await self.line()
        await self.command(f"USER {name}")
        return await self.command(f"PASS {PASSWORD}")

    async def at_end(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.read()


@asynccontextmanager
async def connected(server: Pop3Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def until(condition) -> None:  # the inside of the server has no event to wait for
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.001)


def errors_of(server: Pop3Server) -> float:
    return server.service.deps.metrics.errors._value.get()


async def test_silence_before_login_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pop3_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.line()
        await clock.advance(LOGIN_SECONDS - 10)
        await client.command("CAPA")
        await clock.advance(15)
        assert (await client.at_end()).endswith(b"-ERR [SYS/TEMP] Autologout, idle for too long\r\n")


async def test_autologout_comes_after_ten_minutes_and_removes_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pop3_server(tmp_path, clock=clock) as server, connected(server) as client:
        server.add(b"Subject: x\r\n\r\n")
        await client.login()
        await client.command("DELE 1")
        await clock.advance(AUTOLOGOUT_SECONDS - 10)
        assert await client.command("NOOP") == "+OK Still here"
        await clock.advance(AUTOLOGOUT_SECONDS + 10)
        assert (await client.at_end()).startswith(b"-ERR [SYS/TEMP] Autologout")
        assert server.uids() == [1]


async def test_an_answer_to_auth_that_does_not_come_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pop3_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.line()
        assert await client.command("AUTH PLAIN") == "+ "
        await clock.advance(READ_SECONDS + 10)
        await client.at_end()
        await until(lambda: server.service.connections == 0)


async def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pop3_server(tmp_path, clock=clock) as server, connected(server) as client:
        server.add(b"Subject: x\r\n\r\n" + b"y" * (16 << 20))
        await client.login()
        client.writer.write(b"RETR 1\r\n" * 5)
        session = next(iter(server.service._sessions))
        await until(lambda: session._resumed is not None)
        await clock.advance(WRITE_SECONDS + 10)
        await until(lambda: server.service.connections == 0)
        lock = server.store.lock_maildrop(server.ref())
        assert lock is not None
        lock.release()


async def test_drain_says_goodbye_to_all(tmp_path: Path) -> None:
    async with pop3_server(tmp_path) as server, connected(server) as busy, connected(server) as quiet:
        await busy.login()
        await quiet.line()
        await server.service.drain(5.0)
        for client in (busy, quiet):
            assert await client.at_end() == b"-ERR [SYS/TEMP] Server is shutting down\r\n"
        assert server.service.connections == 0


@pytest.mark.parametrize("change", ["disable", "new_password"])
async def test_sessions_end_with_their_account_or_password(tmp_path: Path, change: str) -> None:
    async with pop3_server(tmp_path) as server, connected(server) as client, connected(server) as other:
        await client.login()
        await other.login("bob")
        getattr(server.passwords, change)("alice")
        server.bus.publish(DIRECTORY_TOPIC)
        assert await client.at_end() == b"-ERR [AUTH] Your login counts no more\r\n"
        assert await other.command("NOOP") == "+OK Still here"


async def test_a_lost_connection_frees_the_maildrop_and_removes_nothing(tmp_path: Path) -> None:
    async with pop3_server(tmp_path) as server:
        server.add(b"Subject: x\r\n\r\n")
        async with connected(server) as client:
            await client.login()
            await client.command("DELE 1")
        await until(lambda: server.service.connections == 0)
        async with connected(server) as client:
            assert await client.login() == "+OK 1 messages"


async def test_a_session_cut_off_while_its_maildrop_opens_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    reached, gone = asyncio.Event(), asyncio.Event()
    real = MaildirAccount.sizes

    def slow(account: MaildirAccount, mailbox_id: int) -> object:
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(gone.wait(), loop).result(10)
        return real(account, mailbox_id)  # type: ignore[arg-type]

    async with pop3_server(tmp_path) as server:
        monkeypatch.setattr(MaildirAccount, "sizes", slow)
        async with connected(server) as client:
            await client.line()
            client.writer.write(f"USER alice\r\nPASS {PASSWORD}\r\n".encode())
            await reached.wait()
            next(iter(server.service._sessions)).abort()
        await until(lambda: server.service.connections == 0)
        gone.set()
        monkeypatch.undo()
        async with connected(server) as client:
            assert await client.login() == "+OK 0 messages"


async def test_the_lock_is_the_same_for_every_process_and_dies_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, fcntl, os, time\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()"
    )
    async with pop3_server(tmp_path) as server:
        first = server.store.lock_maildrop(server.ref())
        assert first is not None
        first.release()
        path = tmp_path / "mail/example.org/alice" / maildrop.LOCK_FILE
        holder = await asyncio.create_subprocess_exec(
            "python3", "-c", program, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        await holder.stdout.readline()
        async with connected(server) as client:
            assert (await client.login()).startswith("-ERR [IN-USE]")
            server.add(b"Subject: comes in all the same\r\n\r\n")
            holder.kill()
            await holder.wait()
            await client.command("USER alice")
            assert await client.command(f"PASS {PASSWORD}") == "+OK 1 messages"


async def test_a_maildrop_that_cannot_be_opened_is_no_wrong_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(account: MaildirAccount, mailbox_id: int) -> None:
        raise StoreError("store.failed", "storage failed", temporary=True)

    async with pop3_server(tmp_path) as server, connected(server) as client:
        monkeypatch.setattr(MaildirAccount, "sizes", fails)
        assert (await client.login()).startswith("-ERR [SYS/TEMP]")
        monkeypatch.undo()
        await client.command("USER alice")
        assert await client.command(f"PASS {PASSWORD}") == "+OK 0 messages"


async def test_what_could_not_be_removed_is_told_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(account: MaildirAccount, mailbox_id: int, uids: object) -> None:
        raise StoreError("store.full", "storage is full", temporary=True)

    async with pop3_server(tmp_path) as server:
        server.add(b"Subject: x\r\n\r\n")
        monkeypatch.setattr(MaildirAccount, "expunge", fails)
        async with connected(server) as client:
            await client.login()
            await client.command("DELE 1")
            assert (await client.command("QUIT")).startswith("-ERR [SYS/TEMP]")
            assert await client.at_end() == b""
        monkeypatch.undo()
        async with connected(server) as client:
            assert await client.login() == "+OK 1 messages"


async def test_a_message_file_that_is_gone_or_cannot_be_opened_ends_only_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(account: MaildirAccount, mailbox_id: int, uid: int) -> None:
        raise StoreError("store.failed", "storage failed", temporary=True)

    async with pop3_server(tmp_path) as server, connected(server) as client:
        server.add(b"Subject: x\r\n\r\n")
        await client.login()
        for file in os.scandir(tmp_path / "mail/example.org/alice/Maildir/cur"):
            os.unlink(file)
        assert await client.command("RETR 1") == "-ERR Message is gone"
        monkeypatch.setattr(MaildirAccount, "open_message", fails)
        assert (await client.command("RETR 1")).startswith("-ERR [SYS/TEMP]")
        assert await client.command("NOOP") == "+OK Still here"


async def test_a_fault_of_ours_ends_the_session_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(store: MaildirStore, ref: object) -> None:
        raise ZeroDivisionError

    async with pop3_server(tmp_path) as server, connected(server) as client:
        await client.login()
        monkeypatch.setattr(MaildirStore, "account", fails)
        assert await client.command("RETR 1") == "-ERR No such message"
        assert errors_of(server) == 0
        async with connected(server) as other:
            assert (await other.login("bob")).startswith("-ERR [SYS/TEMP] Internal error")
        assert errors_of(server) == 1


async def test_messages_of_every_size_arrive_byte_for_byte(tmp_path: Path) -> None:
    source = random.Random(5)
    sizes = [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1_000_000]
    messages = []
    async with pop3_server(tmp_path) as server, connected(server) as client:
        for size in sizes:
            body = b"".join(source.choices([b".", b"x", b"\r\n", b"..", b"\r\n."], k=size))[:size]
            message = b"Subject: x\r\n\r\n" + body.replace(b"\r", b"").replace(b"\n", b"\r\n") + b"\r\n"
            messages.append(message)
            server.add(message)
        await client.login()
        for number, message in enumerate(messages, 1):
            assert await client.command(f"LIST {number}") == f"+OK {number} {len(message)}"
            assert await client.text(f"RETR {number}") == message
            assert await client.text(f"TOP {number} 0") == b"Subject: x\r\n\r\n"


async def test_messages_asked_for_in_order_are_the_right_ones_and_none_is_kept(tmp_path: Path) -> None:
    clock = FakeClock()
    async with pop3_server(tmp_path, clock=clock) as server, connected(server) as client:
        for number in range(1, 9):
            server.add(b"Subject: %d\r\n\r\n" % number + b"x\r\n" * (100_000 if number == 4 else 1))
        await client.login()
        session = next(iter(server.service._sessions))
        for number in (1, 2, 3, 4, 5, 3, 1, 2, 8, 7):
            text = await client.text(f"RETR {number}")
            assert text.startswith(b"Subject: %d\r\n" % number)
        await client.text("RETR 1")
        await client.text("RETR 2")
        assert session.ahead._piece is not None
        await clock.advance(30)
        assert session.ahead._piece is None
        # what was made ready and is marked or gone meanwhile
        await client.text("RETR 3")
        assert await client.command("DELE 4") == "+OK Marked"
        assert await client.command("RETR 4") == "-ERR Message is marked as deleted"
        await client.text("RETR 5")
        await client.text("RETR 6")
        server.remove(8)
        await client.text("RETR 7")
        assert await client.command("RETR 8") == "-ERR Message is gone"


async def test_a_file_of_another_program_with_bare_line_feeds_has_lines(tmp_path: Path) -> None:
    async with pop3_server(tmp_path) as server, connected(server) as client:
        server.inbox()
        folder = tmp_path / "mail/example.org/alice/Maildir/new"
        (folder / "1700000000.1.there").write_bytes(b"Subject: x\n\n.hello\nworld\n")
        assert await client.login() == "+OK 1 messages"
        assert await client.text("RETR 1") == b"Subject: x\r\n\r\n.hello\r\nworld\r\n"


async def test_hundreds_of_messages_are_removed_and_only_they(tmp_path: Path) -> None:
    async with pop3_server(tmp_path) as server:
        for number in range(1_100):
            server.add(b"Subject: %d\r\n\r\n" % number)
        async with connected(server) as client:
            await client.login()
            client.writer.write(b"".join(b"DELE %d\r\n" % number for number in range(1, 1_100)))
            for _ in range(1_099):
                assert await client.line() == b"+OK Marked"
            assert await client.command("STAT") == "+OK 1 17"
            assert await client.command("QUIT") == "+OK Goodbye"
        assert server.uids() == [1_100]


async def test_pipelined_commands_are_answered_in_order(tmp_path: Path) -> None:
    async with pop3_server(tmp_path) as server, connected(server) as client:
        server.add(b"Subject: x\r\n\r\nhello\r\n")
        client.writer.write(
            b"CAPA\r\nUSER alice\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nTOP 1 0\r\nUIDL 1\r\nRETR 2\r\nDELE 1\r\nQUIT\r\nNOOP\r\n"
        )
        said = await client.at_end()
        firsts = [line for line in said.split(b"\r\n") if line.startswith((b"+OK", b"-ERR"))]
        assert [line.split()[0] for line in firsts] == [b"+OK"] * 8 + [b"-ERR"] + [b"+OK"] * 2
        assert said.endswith(b"+OK Goodbye\r\n")
        assert server.uids() == []


@pytest.mark.parametrize(
    "data",
    [
        b"a" * 3_000_000,
        b"\0" * 5_000 + b"\r\n",
        b"\r\n" * 20_000,
        b"USER " + b"x" * LINE_BYTES + b"\r\n" * 30,
        b"PASS a\0b\r\n" * 1_000,
        b"XYZZY 1 2 3\r\n" * 1_000,
        b"AUTH PLAIN\r\n" * 1_000,
        b"AUTH PLAIN " + b"A" * 100_000 + b"\r\n",
        b"\xff\xfe\xfd" * 1_000 + b"\r\n",
        b"QUIT\r\n" * 1_000,
    ],
    ids=range(10),
)
async def test_garbage_before_login_is_answered_or_the_end(tmp_path: Path, data: bytes) -> None:
    async with pop3_server(tmp_path) as server, connected(server) as client, connected(server) as well:
        client.writer.write(data)
        client.writer.write_eof()
        said = await client.at_end()
        lines = said.removesuffix(b"\r\n").split(b"\r\n")
        assert all(line.startswith((b"+OK", b"-ERR", b"+ ")) for line in lines)
        assert len(lines) < 1_010
        assert (await well.login()) == "+OK 0 messages"
        assert errors_of(server) == 0


async def test_random_lines_after_login_are_answered(tmp_path: Path) -> None:
    source = random.Random(7)
    words = ["RETR", "TOP", "LIST", "UIDL", "DELE", "RSET", "NOOP", "STAT", "LANG", "UTF8", "CAPA", "STLS", "USER", "AUTH",
             "1", "2", "0", "-1", "99999999999", "x", "", "\x01", "en", "é"]  # fmt: skip
    async with pop3_server(tmp_path) as server:
        for _ in range(20):
            async with connected(server) as client:
                server.add(b"Subject: x\r\n\r\n.\r\n")
                assert (await client.login()).startswith("+OK")
                for _ in range(15):
                    line = " ".join(source.choices(words, k=source.randint(1, 4)))
                    client.writer.write(line.encode() + b"\r\nNOOP\r\n")
                    answer = b""
                    while answer != b"+OK Still here\r\n":
                        answer = await client.reader.readline()
                        assert answer, line
        assert errors_of(server) == 0


async def test_a_stranger_takes_no_more_places_than_his(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailbox_app.services.pop3.server.MAX_CONNECTIONS", 2)
    async with pop3_server(tmp_path) as server, connected(server) as one, connected(server) as two:
        assert await one.line() == await two.line() == b"+OK POP3 ready"
        async with connected(server) as three:
            assert await three.at_end() == b"-ERR [SYS/TEMP] Try again later\r\n"
        await settle()
        assert server.service.connections == 2
