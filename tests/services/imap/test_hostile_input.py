"""Garbage and traps: every command is answered, the server stays, other accounts' mail is never touched (D8)."""

import asyncio
import random
from pathlib import Path

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
