"""Garbage and traps: every command is answered, the server stays, other accounts' mail is never touched (D8)."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.imap_server import imap_server

WORDS = [
    "FETCH", "STORE", "SEARCH", "COPY", "UID", "SELECT", "APPEND", "LIST", "STATUS", "1:*", "2", "(", ")", '"', "\\",
    "BODY[", "]", "BODY[HEADER.FIELDS (a)]", "FLAGS", "+FLAGS", "\\Seen", "OR", "NOT", "TEXT", "x", "INBOX", "{1}", "{0+}",
    "%", "*", "&", "<0.1>", "CHARSET", "RETURN", "(MIN)", "MODSEQ", "1-Jan-2026", "NIL", "IDLE", "\x7f", "\x01", "CHANGEDSINCE",
]  # fmt: skip


async def test_every_line_of_garbage_is_answered(tmp_path: Path) -> None:
    source = random.Random(3)
    async with imap_server(tmp_path) as server:
        for _ in range(15):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
            await reader.readline()
            writer.write(b"l LOGIN alice secret\r\ns SELECT INBOX\r\n")
            writer.write(b"p APPEND INBOX {20+}\r\nSubject: x\r\n\r\nhello\r\n\r\n")
            await reader.readuntil(b"\r\np OK")
            await reader.readline()
            for number in range(15):
                line = f"g{number} " + " ".join(source.choices(WORDS, k=source.randint(1, 6)))
                writer.write(line.encode("latin-1") + b"\r\nDONE\r\nDONE\r\n" + b"n NOOP\r\n")
                async with asyncio.timeout(10):
                    while not (answer := await reader.readline()).startswith(
                        (b"n OK", b"n BAD", b"* BYE", b"DONE BAD")
                    ):
                        assert answer, line
                if answer.startswith(b"* BYE"):
                    break
            writer.close()
        assert server.service.deps.metrics.errors._value.get() == 0


async def test_names_never_leave_the_account(tmp_path: Path) -> None:
    names = ["..", "../..", "a/../../b", "/", "//", ".", "./x", "a/./b", "\\..\\", "%2e%2e", "INBOX/..", "x" * 10_000]
    async with imap_server(tmp_path) as server:
        for account in ("bob", "alice"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await reader.readline()
            writer.write(f"l LOGIN {account} secret\r\np APPEND INBOX {{4+}}\r\na:b\n\r\n".encode())
            await reader.readuntil(b"\r\np OK")
            await reader.readline()
            if account == "alice":
                for name in names:
                    for verb in ("CREATE", "DELETE", "SELECT", "RENAME Junk", "SUBSCRIBE"):
                        quoted = name.replace("\\", "\\\\")
                        writer.write(f't {verb} "{quoted}"\r\n'.encode())
                        async with asyncio.timeout(10):
                            while not (await reader.readline()).startswith(b"t "):
                                pass
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
        writer.write(b"l LOGIN bob secret\r\ns STATUS INBOX (MESSAGES)\r\n")
        assert b"(MESSAGES 1)" in await reader.readuntil(b"s OK")
        writer.close()
    accounts = {("mail", "example.org", name, "Maildir") for name in ("alice", "bob")}
    assert _maildirs(tmp_path) == accounts


def _maildirs(folder: Path) -> set[tuple[str, ...]]:
    return {path.relative_to(folder).parts[:4] for path in folder.rglob("cur")}


HOSTILE = {
    "nested keys": (b"SEARCH " + b"(" * 10_000 + b"ALL" + b")" * 10_000, b"BAD"),
    "nested NOT": (b"SEARCH " + b"NOT " * 10_000 + b"ALL", b"BAD"),
    "100,000 ranges": (b"FETCH " + b",".join(b"%d" % (n % 9 + 1) for n in range(100_000)) + b" FLAGS", b"BAD"),
    "30,000 ranges": (b"FETCH " + b",".join([b"1"] * 30_000) + b" FLAGS", b"OK"),
    "endless line": (b"SELECT " + b"x" * 1_000_000, b"BAD"),
    "NUL": (b"SELECT a\0b", b"BAD"),
    "NUL in quotes": (b'SELECT "a\0b"', b"BAD"),
    "8-bit atom": (b"SELECT b\xe4", b"BAD"),
    "8-bit item": (b"FETCH 1 \xff\xfe", b"BAD"),
    "parentheses": (b"FETCH 1 (FLAGS (UID", b"BAD"),
    "huge number": (b"FETCH 99999999999999999999999 FLAGS", b"BAD"),
    "huge partial": (b"FETCH 1 BODY.PEEK[]<99999999999999999999.1>", b"BAD"),
    "deep part": (b"FETCH 1 BODY.PEEK[" + b".".join([b"1"] * 1_000) + b"]", b"BAD"),
    "many items": (b"FETCH 1 (" + b" ".join([b"FLAGS"] * 5_000) + b")", b"BAD"),
    "many names": (b"FETCH 1 BODY.PEEK[HEADER.FIELDS (" + b" ".join([b"x"] * 5_000) + b")]", b"BAD"),
    "4 GiB announced": (b"CREATE {4294967296}", b"BAD"),
    "endless announcement": (b"CREATE {" + b"9" * 1_000 + b"}", b"BAD"),
    "message in a wrong place": (b"CREATE ~{3+}\r\na\0b", b"BAD"),
    "many literals": (b"SEARCH " + b"SUBJECT {1+}\r\nx " * 200 + b"ALL", b"BAD"),
    "many URLs": (b"APPEND INBOX CATENATE (" + b"URL /INBOX/;UID=1 " * 3_000 + b")", b"BAD"),
}


@pytest.mark.parametrize(("command", "status"), HOSTILE.values(), ids=HOSTILE)
async def test_hostile_commands_are_refused_and_the_next_one_is_found(
    tmp_path: Path, command: bytes, status: bytes
) -> None:
    async with imap_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
        writer.write(b"l LOGIN alice secret\r\np APPEND INBOX {3+}\r\na:b\r\ns SELECT INBOX\r\n")
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\ns OK")
            writer.write(b"h " + command + b"\r\nn NOOP\r\n")
            while not (answer := await reader.readline()).startswith((b"h ", b"* BYE")):
                assert answer
            assert answer.startswith(b"h " + status), answer
            assert await reader.readline() == b"n OK NOOP done\r\n"
        writer.close()


@pytest.mark.parametrize(
    "command",
    [b"APPEND INBOX {50+}\r\nhalf", b"APPEND INBOX {50}\r\n", b"LOGIN {9+}\r\nx", b"APPEND INBOX {5+}\r\na:b"],
)
async def test_a_client_that_leaves_inside_a_literal_leaves_nothing(tmp_path: Path, command: bytes) -> None:
    async with imap_server(tmp_path) as server:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"l LOGIN alice secret\r\nh " + command)
            await reader.readuntil(b"l OK")
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"l LOGIN alice secret\r\nt STATUS INBOX (MESSAGES)\r\n")
        async with asyncio.timeout(10):
            assert b"(MESSAGES 0)" in await reader.readuntil(b"t OK")
        writer.close()
