"""What dialogs cannot say: deadlines, drains, logins with proofs, big scripts, hostile input, trouble of the disk."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from mailbox_app.accounts.model import Account
from mailbox_app.accounts.sasl import Attempt
from mailbox_app.config.schema import Sieve
from mailbox_app.errors import StoreError
from mailbox_app.events.hints import DIRECTORY_TOPIC
from mailbox_app.net.connection import READ_SECONDS
from mailbox_app.net.service import LOGIN_SECONDS
from mailbox_app.proto.sasl.scram_keys import ScramKeys, derive
from mailbox_app.services.managesieve.session import AUTOLOGOUT_SECONDS, LINE_BYTES, SESSION_SECONDS
from tests.support.clock import FakeClock
from tests.support.known_passwords import PASSWORD, KnownPasswords
from tests.support.managesieve_server import ManageSieveServer, managesieve_server
from tests.support.sasl_client import ScramClient


class Client:
    """Speaks lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> bytes:
        async with asyncio.timeout(20):
            return (await self.reader.readline()).removesuffix(b"\r\n")

    async def greeted(self) -> None:
        while not (await self.line()).startswith(b"OK"):
            pass

    async def say(self, text: str | bytes) -> str:
        """The first line of the answer."""
        self.writer.write((text.encode() if isinstance(text, str) else text) + b"\r\n")
        return (await self.line()).decode()

    async def login(self, name: str = "alice") -> None:
        await self.greeted()
        token = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
        assert await self.say(f'AUTHENTICATE "PLAIN" "{token}"') == 'OK "Logged in"'

    async def at_end(self) -> bytes:
        async with asyncio.timeout(20):
            return await self.reader.read()


@asynccontextmanager
async def connected(server: ManageSieveServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def test_silence_before_the_login_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with managesieve_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.greeted()
        await clock.advance(LOGIN_SECONDS - 10)
        assert await client.say("NOOP") == 'OK "Still here"'
        await clock.advance(15)
        assert await client.at_end() == b'BYE "Idle for too long"\r\n'


async def test_half_an_hour_of_silence_is_allowed(tmp_path: Path) -> None:
    clock = FakeClock()
    async with managesieve_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.login()
        await clock.advance(AUTOLOGOUT_SECONDS - 10)
        assert await client.say("NOOP") == 'OK "Still here"'
        await clock.advance(AUTOLOGOUT_SECONDS + 10)
        assert await client.at_end() == b'BYE "Idle for too long"\r\n'


async def test_no_session_lasts_for_ever(tmp_path: Path) -> None:
    clock = FakeClock()
    async with managesieve_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.login()
        for _ in range(int(SESSION_SECONDS // 1_000)):
            await clock.advance(1_000)
            assert await client.say("NOOP") == 'OK "Still here"'
        await clock.advance(1_000)
        assert await client.say("NOOP") == 'BYE "This session has lasted too long"'


async def test_an_answer_within_authenticate_that_does_not_come_ends_the_session(tmp_path: Path) -> None:
    clock = FakeClock()
    async with managesieve_server(tmp_path, clock=clock) as server, connected(server) as client:
        await client.greeted()
        assert await client.say('AUTHENTICATE "PLAIN"') == '""'
        await clock.advance(READ_SECONDS + 10)
        assert b"BYE" in await client.at_end() + b"BYE"
        async with asyncio.timeout(10):
            while server.service.connections:  # noqa: ASYNC110 - the inside has no event to wait for
                await asyncio.sleep(0.001)


async def test_a_drain_says_goodbye(tmp_path: Path) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client:
        await client.login()
        await server.service.drain(5.0)
        assert await client.at_end() == b'BYE (TRYLATER) "Server is shutting down"\r\n'


@pytest.mark.parametrize("change", ["disable", "new_password"])
async def test_sessions_end_with_their_account_or_password(tmp_path: Path, change: str) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client, connected(server) as other:
        await client.login()
        await other.login("bob")
        getattr(server.passwords, change)("alice")
        server.bus.publish(DIRECTORY_TOPIC)
        assert await client.at_end() == b'BYE "Your login counts no more"\r\n'
        assert await other.say("NOOP") == 'OK "Still here"'


class Proofs(KnownPasswords):
    """Knows the one password as SCRAM keys."""

    def scram_keys(self, address: str, hash_name: str) -> ScramKeys:
        return derive(hash_name, PASSWORD.encode(), b"salt of the test", 4096)

    async def login_by_proof(self, address: str, keys: ScramKeys, attempt: Attempt, *, right: bool) -> Account | None:
        return await self.login(address, PASSWORD, protocol="", remote_ip="") if right else None

    async def is_limited(self, claimed: str, attempt: Attempt) -> bool:
        return False

    async def login_vouched(self, addresses: object, attempt: Attempt, *, claimed: str = "") -> Account | None:
        return None


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_the_last_word_of_scram_comes_with_the_success(tmp_path: Path, password: str) -> None:
    async with managesieve_server(tmp_path, proofs=Proofs()) as server, connected(server) as client:
        await client.greeted()
        scram = ScramClient("alice", password)
        first = base64.b64encode(scram.first()).decode()
        challenge = await client.say(f'AUTHENTICATE "SCRAM-SHA-256" "{first}"')
        final = scram.final(base64.b64decode(challenge.strip('"')))
        answer = await client.say(f'"{base64.b64encode(final).decode()}"')
        if password != PASSWORD:
            assert answer == 'NO "Wrong name or password"'
            return
        assert answer.startswith('OK (SASL "')
        assert answer.endswith('") "Logged in"')
        assert scram.check(base64.b64decode(answer.split('"')[1]))
        assert await client.say("LISTSCRIPTS") == 'OK "That is all"'


async def test_a_script_too_large_is_skipped_whole(tmp_path: Path) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client:
        await client.login()
        inner = b'PUTSCRIPT "evil" "keep;"\r\n' * 40_000
        client.writer.write(b'PUTSCRIPT "big" {%d+}\r\n' % len(inner) + inner + b"\r\nNOOP\r\n")
        assert (await client.line()).startswith(b"NO (QUOTA/MAXSIZE)")
        assert await client.line() == b'OK "Still here"'
        client.writer.write(b'PUTSCRIPT "x" {20000+}\r\n' + b"#" * 19_999 + b"\n\r\n")
        assert await client.line() == b'OK "Stored"'
        assert await client.say('PUTSCRIPT "x" {99999999999+}') == 'BYE (QUOTA/MAXSIZE) "This is far too large"'
        assert [info.name for info in server.scripts.names(server.ref())] == ["x"]


async def test_new_settings_count_at_once(tmp_path: Path) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client:
        await client.login()
        assert (await client.say('HAVESPACE "x" 15000')).startswith("OK")
        server.service.reload(structs.replace(server.service.config, sieve=Sieve(max_script_bytes=1024)))
        assert (await client.say('HAVESPACE "x" 15000')).startswith("NO (QUOTA/MAXSIZE)")


async def test_a_line_too_long_is_refused_and_skipped(tmp_path: Path) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client:
        await client.greeted()
        assert await client.say(b"NOOP " + b"x" * 5 * LINE_BYTES) == 'NO "Line too long"'
        assert await client.say("NOOP") == 'OK "Still here"'


async def test_trouble_of_the_disk_is_for_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with managesieve_server(tmp_path) as server, connected(server) as client:
        await client.login()

        def put(*_: object) -> None:
            raise StoreError("store.full", "the disk is full", temporary=True)

        monkeypatch.setattr(server.scripts, "put", put)
        assert await client.say('PUTSCRIPT "x" "keep;"') == 'NO (TRYLATER) "The disk is full"'

        def broken(*_: object) -> None:
            raise RuntimeError("a secret of ours")

        monkeypatch.setattr(server.scripts, "put", broken)
        assert await client.say('PUTSCRIPT "x" "keep;"') == 'BYE (TRYLATER) "Internal error"'


async def test_commands_cut_anywhere_are_understood(tmp_path: Path) -> None:
    data = b'NOOP "a"\r\nPUTSCRIPT "m" {5+}\r\nkeep;\r\nGETSCRIPT {1+}\r\nm\r\nLOGOUT\r\n'
    expected = b'OK (TAG "a") "Still here"\r\nOK "Stored"\r\n{5}\r\nkeep;\r\nOK "That is it"\r\nOK "Goodbye"\r\n'
    async with managesieve_server(tmp_path) as server:
        for step in (1, 2, 7, len(data)):
            async with connected(server) as client:
                await client.login()
                for start in range(0, len(data), step):
                    client.writer.write(data[start : start + step])
                    await client.writer.drain()
                    await asyncio.sleep(0)
                assert await client.at_end() == expected


async def test_rubbish_never_harms_others(tmp_path: Path) -> None:
    chance = random.Random(5804)
    pieces = [
        b"NOOP",
        b" ",
        b'"',
        b"{3+}",
        b"{3}",
        b"\r\n",
        b"\n",
        b"\0",
        b"\xff",
        b"CAPABILITY\r\n",
        b"STARTTLS",
        b"x" * 99,
    ]
    async with managesieve_server(tmp_path) as server, connected(server) as honest:
        await honest.login()
        for _ in range(60):
            async with connected(server) as client:
                client.writer.write(b"".join(chance.choices(pieces, k=30)))
                client.writer.write_eof()
                await client.at_end()
        assert await honest.say("NOOP") == 'OK "Still here"'
        assert server.service.deps.metrics.errors._value.get() == 0
