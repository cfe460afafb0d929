"""LMTP: an answer for each recipient, no checks a second time, nobody else gets in. RFC 2033."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.errors import StoreError
from mailbox_app.proto.header import Header
from mailbox_app.services.smtp.lmtp import believed_author
from tests.support.memory_store import MemoryStore
from tests.support.smtp import Client, SmtpWorld, smtp_world

MESSAGE = b"From: carol@remote.example\r\nSubject: x\r\n\r\nhello\r\n"


async def greeted(world: SmtpWorld) -> Client:
    client = await world.connect("lmtp", hello="")
    await client.expect(250, "LHLO mx.example.org")
    return client


async def answers(client: Client, count: int) -> list[tuple[int, str]]:
    return [await client.reply() for _ in range(count)]


async def test_each_recipient_has_an_answer_in_the_order_of_rcpt(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await greeted(world)
        await client.expect(250, "MAIL FROM:<carol@remote.example>")
        await client.expect(250, "RCPT TO:<alice@example.org>")
        await client.expect(550, "RCPT TO:<nobody@example.org>")
        await client.expect(250, "RCPT TO:<bob@example.org>")
        await client.expect(250, "RCPT TO:<ALICE@example.org>")
        await client.expect(354, "DATA")
        await client.send(MESSAGE + b".\r\n")
        found = await answers(client, 3)
        assert [code for code, _ in found] == [250] * 3
        assert [text.split()[1] for _, text in found] == [
            "<alice@example.org>",
            "<bob@example.org>",
            "<ALICE@example.org>",
        ]
        await client.expect(250, "NOOP")
        (stored,) = world.inbox("alice@example.org")
        assert b"\r\n\tby mail.example.org with LMTP id " in stored
        assert len(world.inbox("bob@example.org")) == 1


async def test_the_last_chunk_has_them_too(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await greeted(world)
        await client.begin("carol@remote.example", "alice@example.org", "bob@example.org")
        await client.send(b"BDAT 5\r\n" + MESSAGE[:5] + b"BDAT %d LAST\r\n" % (len(MESSAGE) - 5) + MESSAGE[5:])
        assert [code for code, _ in await answers(client, 3)] == [250] * 3
        await client.expect(250, "NOOP")


class OneFails(MemoryStore):
    """bob's mailbox cannot take mail."""

    def _fails(self, ref: Any) -> None:
        if ref.localpart == "bob":
            raise StoreError("store.failed", "the mailbox cannot take mail now", temporary=True)

    def stage(self, ref: Any, content: Any) -> Any:
        self._fails(ref)
        return super().stage(ref, content)

    def link(self, staged: Any, ref: Any) -> Any:
        self._fails(ref)
        return super().link(staged, ref)


async def test_who_cannot_be_served_now_is_told_so_and_nothing_is_queued_for_him(tmp_path: Path) -> None:
    async with smtp_world(tmp_path, store=OneFails()) as world:
        client = await greeted(world)
        await client.begin("carol@remote.example", "alice@example.org", "bob@example.org")
        await client.expect(354, "DATA")
        await client.send(MESSAGE + b".\r\n")
        assert [code for code, _ in await answers(client, 2)] == [250, 451]
        assert not world.queued()
        assert len(world.inbox("alice@example.org")) == 1
        assert [event.verb for event in world.events] == ["accepted", "rejected"]


@pytest.mark.parametrize("bad", [b"a bare\nline feed\r\n", b"\0\r\n"])
async def test_a_refused_content_is_refused_to_each(tmp_path: Path, bad: bytes) -> None:
    async with smtp_world(tmp_path) as world:
        client = await greeted(world)
        await client.begin("carol@remote.example", "alice@example.org", "bob@example.org")
        await client.expect(354, "DATA")
        await client.send(MESSAGE + bad + b".\r\nNOOP\r\n")
        assert [code for code, _ in await answers(client, 3)] == [554, 554, 250]
        assert not world.inbox("alice@example.org")


async def test_without_recipients_there_is_one_answer(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await greeted(world)
        await client.expect(250, "MAIL FROM:<carol@remote.example>")
        await client.send(b"BDAT 3 LAST\r\nabcNOOP\r\n")
        assert [code for code, _ in await answers(client, 2)] == [554, 250]


async def test_hello_is_lhlo_here_and_only_here(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await world.connect("lmtp", hello="")
        for line in ("EHLO x", "HELO x"):
            await client.expect(500, line)
        await client.expect(503, "MAIL FROM:<a@b.example>")
        assert "AUTH" not in await client.expect(250, "LHLO x")
        await client.expect(502, "AUTH PLAIN AA==")
        other = await world.connect("smtp", hello="")
        await other.expect(500, "LHLO x")


async def test_nobody_relays(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        client = await greeted(world)
        await client.expect(250, "MAIL FROM:<carol@remote.example>")
        await client.expect(550, "RCPT TO:<x@outside.example>")


async def test_only_the_server_in_front_gets_in(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        service = world.service.for_lmtp()
        make = service.factory("lmtp")

        def from_afar() -> asyncio.BaseProtocol:
            made = make()
            made.proxied_ip = "203.0.113.9"  # type: ignore[attr-defined]
            return made

        server = await asyncio.get_running_loop().create_server(from_afar, "127.0.0.1", 0)
        reader, _ = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        assert (await reader.read()).startswith(b"554 5.7.1 ")
        server.close()


async def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with smtp_world(tmp_path) as world:
        path = str(tmp_path / "lmtp")
        factory = world.service.for_lmtp().factory("lmtp")
        server = await asyncio.get_running_loop().create_unix_server(factory, path)
        client = Client(*await asyncio.open_unix_connection(path))
        assert (await client.reply())[1].endswith("LMTP")
        assert "STARTTLS" not in await client.expect(250, "LHLO mx")
        await client.begin()
        assert (await client.content(MESSAGE))[0] == 250
        assert b"Received: from mx\r\n" in world.inbox("alice@example.org")[0]
        server.close()


@pytest.mark.parametrize(
    ("fields", "author"),
    [
        (b"Authentication-Results: mx.front.example; dmarc=pass header.from=b.example\r\n", "a@b.example"),
        (b"Authentication-Results: MX.front.example 1; spf=fail; dmarc = pass (p=none)\r\n", "a@b.example"),
        (b"Authentication-Results: mx.front.example; dmarc=fail (dmarc=pass; dmarc=pass)\r\n", ""),
        (b"Authentication-Results: other.example; dmarc=pass\r\n", ""),
        (
            b"".join(b"Authentication-Results: mx.front.example; dmarc=%b\r\n" % word for word in (b"none", b"pass")),
            "",
        ),
        (b"", ""),
        (
            b'Authentication-Results: mx.front.example; spf=fail smtp.mailfrom="; dmarc=pass"@evil.example; dmarc=fail\r\n',
            "",
        ),
    ],
)
def test_results_of_the_server_in_front_are_believed(fields: bytes, author: str) -> None:
    header = Header.parse(fields + b"From: A <a@b.example>\r\n\r\n")
    assert believed_author(header, "mx.front.example") == author
    assert believed_author(header, "") == ""
