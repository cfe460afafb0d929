"""What dialogs cannot say: deadlines, drains, faults of the store, big messages, slow readers, many sessions."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.net.connection import WRITE_SECONDS
from mailbox_app.net.service import LOGIN_SECONDS
from mailbox_app.services.imap.connection import AUTOLOGOUT_SECONDS
from mailbox_app.services.imap.session import Session
from mailbox_app.store.maildir.account import MaildirAccount
from tests.support.clock import FakeClock, settle
from tests.support.imap_server import PASSWORD, ImapServer, imap_server
from tests.support.tiny_blocks import tiny_blocks


class Client:
    """Speaks bytes; keeps a model of the selected mailbox from untagged answers, as a careful client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.uids: list[int | None] = []
        self.flags: dict[int, frozenset[str]] = {}
        self._tag = 0

    @property
    def port(self) -> int:
        port: int = self.writer.get_extra_info("sockname")[1]
        return port

    async def command(self, text: str, *, literal: bytes | None = None) -> list[str]:
        """The lines of the answer, the tagged one last."""
        self._tag += 1
        tag = f"t{self._tag}"
        data = f"{tag} {text}".encode()
        if literal is not None:
            data += b" {%d+}\r\n%b" % (len(literal), literal)
        self.writer.write(data + b"\r\n")
        lines = []
        while True:
            async with asyncio.timeout(20):
                line = (await self.reader.readline()).decode().rstrip("\r\n")
            lines.append(line)
            if line.startswith(f"{tag} ") or not line:
                return lines
            self._learn(line, text)

    def _learn(self, line: str, command: str) -> None:
        words = line.split(" ", 3)
        if len(words) < 3 or not words[1].isdigit():
            return
        number = int(words[1])
        if words[2] == "EXISTS":
            assert number >= len(self.uids), "EXISTS never shrinks a mailbox"
            self.uids += [None] * (number - len(self.uids))
        elif words[2] == "EXPUNGE":
            assert not command.startswith(("FETCH", "STORE", "SEARCH")), (
                "numbers changed under a command that uses them"
            )
            assert 1 <= number <= len(self.uids), "EXPUNGE of a message that is not there"
            del self.uids[number - 1]
        elif words[2] == "FETCH" and "UID " in words[3]:
            uid = int(words[3].split("UID ")[1].split()[0].rstrip(")"))
            assert self.uids[number - 1] in (None, uid), "a number means another message than before"
            self.uids[number - 1] = uid

    async def login(self, name: str = "alice") -> None:
        await self.reader.readline()
        assert " OK " in (await self.command(f"LOGIN {name} {PASSWORD}"))[-1]

    async def select(self, name: str = "INBOX") -> None:
        self.uids = []
        assert " OK " in (await self.command(f"SELECT {name}"))[-1]


@asynccontextmanager
async def connected(server: ImapServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def _peer(session: Session) -> int:
    assert session._transport is not None
    port: int = session._transport.get_extra_info("peername")[1]
    return port


async def until(condition) -> None:  # the inside of the server has no event to wait for
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.001)


async def test_silence_before_login_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.reader.readline()
        await clock.advance(LOGIN_SECONDS - 10)
        await client.command("NOOP")
        await clock.advance(15)
        assert (await client.reader.readline()).startswith(b"* BYE")
        assert await client.reader.read() == b""


async def test_autologout_comes_after_thirty_minutes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.login()
        await clock.advance(AUTOLOGOUT_SECONDS - 10)
        assert server.service.connections == 1
        await client.command("NOOP")
        await clock.advance(AUTOLOGOUT_SECONDS - 10)
        assert server.service.connections == 1
        await clock.advance(20)
        assert (await client.reader.readline()).startswith(b"* BYE")


async def test_a_literal_that_does_not_come_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.login()
        client.writer.write(b"a APPEND INBOX {10+}\r\nabc")
        await until(lambda: server.service.connections == 1)
        await asyncio.sleep(0.02)
        await clock.advance(200)
        assert b"BYE" in await client.reader.readline()
        await until(lambda: server.service.connections == 0)


async def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock, max_message_bytes=1 << 25) as server, connected(server) as client:
        await client.login()
        await client.command("APPEND INBOX", literal=b"Subject: x\r\n\r\n" + b"y" * (16 << 20))
        await client.select()
        client.writer.write(b"z FETCH 1 BODY.PEEK[]\r\n")
        client.writer.write(b"z FETCH 1 BODY.PEEK[]\r\n" * 5)
        session = next(iter(server.service._sessions))
        await until(lambda: session._resumed is not None)
        await clock.advance(WRITE_SECONDS + 10)
        await until(lambda: server.service.connections == 0)


async def test_drain_says_goodbye_to_all(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as idle, connected(server) as quiet:
        await idle.login()
        await idle.select()
        idle.writer.write(b"i IDLE\r\n")
        assert await idle.reader.readline() == b"+ idling\r\n"
        await quiet.reader.readline()
        await server.service.drain(5.0)
        assert (await idle.reader.read()).startswith(b"* BYE [UNAVAILABLE]")
        assert (await quiet.reader.read()).startswith(b"* BYE [UNAVAILABLE]")
        assert server.service.connections == 0


@pytest.mark.parametrize("change", ["disable", "new_password"])
async def test_sessions_end_with_their_account_or_password(tmp_path: Path, change: str) -> None:
    async with (
        imap_server(tmp_path) as server,
        connected(server) as idling,
        connected(server) as waiting,
        connected(server) as other,
    ):
        for client, name in ((idling, "alice"), (waiting, "alice"), (other, "bob")):
            await client.login(name)
        await idling.select()
        idling.writer.write(b"i IDLE\r\n")
        assert (await idling.reader.readline()).startswith(b"+")
        getattr(server.passwords, change)("alice")
        server.bus.publish(DIRECTORY_TOPIC)
        for client in (idling, waiting):
            async with asyncio.timeout(10):
                assert await client.reader.read() == b"* BYE Your login counts no more\r\n"
        assert " OK " in (await other.command("NOOP"))[-1]


async def test_a_lost_hint_costs_only_the_poll(tmp_path: Path) -> None:
    clock = FakeClock()
    async with imap_server(tmp_path, clock=clock) as server, connected(server) as idle, connected(server) as other:
        await idle.login()
        await idle.select()
        await other.login()
        idle.writer.write(b"i IDLE\r\n")
        await idle.reader.readline()
        session = next(each for each in server.service._sessions if each.idle_tag)
        assert session._subscription is not None
        session._subscription.close()
        await other.command("APPEND INBOX", literal=b"A: b\r\n\r\n")
        await clock.advance(40)
        assert await idle.reader.readline() == b"* 1 EXISTS\r\n"


async def test_a_fault_is_answered_and_counted_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret path /var/x")

    def busy(*_: object) -> None:
        raise StoreError("store.busy", "storage is busy", temporary=True)

    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        monkeypatch.setattr(MaildirAccount, "mailboxes", broken)
        assert (await client.command('LIST "" *'))[-1] == "t2 NO [SERVERBUG] Internal error"
        assert server.service.deps.metrics.errors._value.get() == 1
        monkeypatch.setattr(MaildirAccount, "mailboxes", busy)
        assert (await client.command('LIST "" *'))[-1] == "t3 NO [INUSE] storage is busy"
        assert (await client.command("NOOP"))[-1] == "t4 OK NOOP done"


async def test_mail_can_be_read_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("store.full", "storage is not writable now", temporary=True)

    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await client.command("APPEND INBOX", literal=b"A: b\r\n\r\nhello")
        await client.select()
        monkeypatch.setattr(MaildirAccount, "store_flags", full)
        assert "hello" in "".join(await client.command("FETCH 1 BODY[TEXT]"))
        assert "\\Seen" not in "".join(await client.command("FETCH 1 FLAGS"))
        monkeypatch.undo()
        assert "\\Seen" in "".join(await client.command("FETCH 1 BODY[TEXT]"))


async def test_idle_ends_well_while_the_store_cannot_tell_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise StoreError("store.busy", "storage is busy", temporary=True)

    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await client.select()
        monkeypatch.setattr(MaildirAccount, "changes", busy)
        client.writer.write(b"i IDLE\r\nDONE\r\n")
        assert await client.reader.readline() == b"+ idling\r\n"
        assert await client.reader.readline() == b"i OK IDLE done\r\n"
        monkeypatch.undo()
        assert (await client.command("NOOP"))[-1].endswith("OK NOOP done")


class Wire(asyncio.Transport):
    """The transport of a client somewhere else."""

    def __init__(self, remote_ip: str) -> None:
        super().__init__({"peername": (remote_ip, 40_000)})
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("remote_ip", "is_limited"), [("192.0.2.1", True), ("2001:db8::1", True), ("127.0.0.1", False)]
)
async def test_one_address_cannot_take_all_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote_ip: str, is_limited: bool
) -> None:
    monkeypatch.setattr("mailbox_app.services.imap.server.MAX_PER_ADDRESS", 2)
    async with imap_server(tmp_path) as server:
        wires = [Wire(remote_ip) for _ in range(4)]
        sessions = [server.service.factory("imaps")() for _ in wires]
        for session, wire in zip(sessions[:3], wires, strict=False):
            session.connection_made(wire)
        assert wires[1].written.startswith(b"* OK ")
        assert wires[2].written.startswith(b"* BYE [UNAVAILABLE]" if is_limited else b"* OK ")
        for session in (sessions[2], sessions[0]):
            session.connection_lost(None)  # type: ignore[attr-defined]
        sessions[3].connection_made(wires[3])
        assert wires[3].written.startswith(b"* OK ")
        for session in (sessions[1], sessions[3]):
            session.connection_lost(None)  # type: ignore[attr-defined]
        assert server.service.connections == 0


async def test_searches_look_at_headers_that_are_too_long_for_the_index(tmp_path: Path) -> None:
    long = b"Subject: long\r\nDate: Tue, 6 Jan 2026 10:00:00 +0000\r\n" + b"X-Fill: %b\r\n" % (b"y" * 70) * 4_000
    async with imap_server(tmp_path, max_message_bytes=1 << 20) as server, connected(server) as client:
        await client.login()
        await client.command("APPEND INBOX", literal=long + b"X-Last: zebra\r\n\r\nbody\r\n")
        await client.command("APPEND INBOX", literal=b"Subject: short\r\n\r\nbody zebra\r\n")
        await client.select()
        for program, found in (
            ("SUBJECT long", " 1"),
            ("HEADER X-Last ZEBRA", " 1"),
            ("NOT SENTON 6-Jan-2026", " 2"),
            ("OR (SUBJECT long BODY body) (SUBJECT short BODY zebra)", " 1 2"),
            ("OR (SUBJECT long BODY zebra) (NOT SUBJECT long BODY body)", " 2"),
            ("TEXT zebra NOT SUBJECT short", " 1"),
        ):
            assert (await client.command(f"SEARCH {program}"))[0] == f"* SEARCH{found}", program


async def test_a_message_larger_than_memory_goes_through_a_file_unchanged(tmp_path: Path) -> None:
    body = b"Subject: big\r\n\r\n" + random.Random(1).randbytes(3 << 20).replace(b"\0", b"x")
    async with imap_server(tmp_path, max_message_bytes=1 << 23) as server, connected(server) as client:
        await client.login()
        assert "APPENDUID" in (await client.command("APPEND INBOX", literal=body))[-1]
        await client.select()
        client.writer.write(b"f FETCH 1 BODY.PEEK[]\r\n")
        assert await client.reader.readline() == b"* 1 FETCH (BODY[] {%d}\r\n" % len(body)
        assert await client.reader.readexactly(len(body)) == body
        assert await client.reader.readline() == b")\r\n"


async def test_a_client_that_leaves_in_the_middle_of_a_message_leaves_nothing(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        async with connected(server) as client:
            await client.login()
            client.writer.write(b"a APPEND INBOX {1000+}\r\nSubject: half")
            await client.writer.drain()
        await until(lambda: server.service.connections == 0)
        async with connected(server) as client:
            await client.login()
            assert "MESSAGES 0" in (await client.command("STATUS INBOX (MESSAGES)"))[0]


async def test_what_was_pipelined_before_the_end_is_answered(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.reader.readline()
        client.writer.write(b"a LOGIN alice secret\r\nb STATUS INBOX (MESSAGES)\r\n")
        client.writer.write_eof()
        assert (await client.reader.read()).endswith(b"b OK STATUS done\r\n")


@pytest.mark.parametrize("seed", [7, 8, 9])
async def test_sessions_changing_one_mailbox_at_random_agree_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Sequence numbers stay right in every session (D19): each keeps the books a careful client keeps."""
    source = random.Random(seed)
    if seed != 7:
        tiny_blocks(monkeypatch)
    async with imap_server(tmp_path) as server:
        clients = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
            clients.append(Client(reader, writer))
            await clients[-1].login()
            await clients[-1].select()

        async def work(client: Client) -> None:
            for _ in range(40):
                count = len(client.uids)
                number = source.randint(1, count) if count else 0
                choice = source.random()
                if choice < 0.35 or not count:
                    await client.command("APPEND INBOX", literal=b"A: b\r\n\r\nx")
                elif choice < 0.6:
                    flag = source.choice(["\\Seen", "\\Flagged", "\\Deleted", "kw"])
                    sign = source.choice("+-")
                    await client.command(f"STORE {number}:* {sign}FLAGS ({flag})")
                elif choice < 0.7:
                    await client.command("EXPUNGE")
                elif choice < 0.8:
                    await client.command(f"FETCH 1:{count} (UID FLAGS)")
                elif choice < 0.9:
                    await client.command(f"MOVE {number} Archive")
                elif choice < 0.95:
                    await client.command("NOOP")
                else:  # as a poll does when a session idles
                    session = next(each for each in server.service._sessions if _peer(each) == client.port)
                    session.view.forget_messages()

        await asyncio.gather(*(work(client) for client in clients))
        views = []
        for client in clients:
            await client.command("NOOP")
            lines = await client.command("FETCH 1:* (UID FLAGS)") if client.uids else []
            views.append([re.sub(r" \\Recent(?=\))|\\Recent ?", "", line) for line in lines[:-1]])
            assert len(lines[:-1]) == len(client.uids)
        async with connected(server) as fresh:
            await fresh.login()
            await fresh.select()
            lines = await fresh.command("FETCH 1:* (UID FLAGS)") if fresh.uids else []
            truth = [re.sub(r" \\Recent(?=\))|\\Recent ?", "", line) for line in lines[:-1]]
        for view in views:
            assert view == truth
        for client in clients:
            client.writer.close()


async def test_thousands_of_commands_at_once_are_answered_in_order(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.reader.readline()
        client.writer.write(b"".join(b"a%d NOOP\r\n" % number for number in range(5_000)))
        for number in range(5_000):
            assert await client.reader.readline() == b"a%d OK NOOP done\r\n" % number


async def test_an_idle_session_has_no_task(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await client.select()
        client.writer.write(b"i IDLE\r\n")
        await client.reader.readline()
        await settle()
        assert [each.running for each in server.service._sessions] == [False]
