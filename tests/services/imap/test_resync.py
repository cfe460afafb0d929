"""QRESYNC: a client that only hears what it missed knows what a fresh read says. RFC 7162 3.2.5."""

import asyncio
import random
import re
from pathlib import Path

import pytest

from mailbox_app.proto.imap.grammar import Cursor
from tests.support.imap_server import PASSWORD, ImapServer, imap_server
from tests.support.tiny_blocks import tiny_blocks

MESSAGE = b"Subject: x\r\n\r\ny\r\n"
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "one", "two"]
FETCHED = re.compile(r"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) MODSEQ \((\d+)\)\)")
VANISHED = re.compile(r"\* VANISHED (?:\(EARLIER\) )?(\S+)")


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._tag = 0

    @classmethod
    async def open(cls, server: ImapServer) -> "Wire":
        wire = cls(*await asyncio.open_connection("127.0.0.1", server.port))
        await wire.reader.readline()
        await wire.say(f"LOGIN alice {PASSWORD}")
        return wire

    async def say(self, text: str) -> list[str]:
        self._tag += 1
        self.writer.write(f"t{self._tag} {text}\r\n".encode())
        lines: list[str] = []
        async with asyncio.timeout(20):
            while not lines or not lines[-1].startswith(f"t{self._tag} "):
                lines.append((await self.reader.readline()).decode().rstrip("\r\n"))
        return lines


class Cache:
    """What a client keeps on its disk."""

    def __init__(self) -> None:
        self.flags: dict[int, frozenset[str]] = {}
        self.modseq = 0
        self.validity = 0
        self.next_uid = 1

    async def take(self, wire: Wire, text: str) -> None:
        """Say it and follow; what is new is asked for, as clients do."""
        lines = await wire.say(text)
        self.hear(lines)
        if any(line.endswith(" EXISTS") for line in lines):
            new = await wire.say(f"UID FETCH {self.next_uid}:* (FLAGS MODSEQ)")
            self.hear([line for line in new if "HIGHESTMODSEQ" not in line])
            self.next_uid = max(self.next_uid, max(self.flags, default=0) + 1)

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            if found := VANISHED.match(line):
                for low, high in Cursor(found[1].encode()).sequence_set().bounds(0):
                    for uid in range(low, high + 1):
                        self.flags.pop(uid, None)
            elif found := FETCHED.match(line):
                self.flags[int(found[1])] = frozenset(found[2].split()) - {"\\Recent"}
            elif found := re.search(r"\[HIGHESTMODSEQ (\d+)\]", line):
                self.modseq = int(found[1])
            elif found := re.search(r"\[UIDVALIDITY (\d+)\]", line):
                self.validity = int(found[1])

    def known(self, kind: int) -> str:
        """The SELECT parameter in one of its forms."""
        uids = sorted(self.flags)
        listed = f" {','.join(map(str, uids))}" if uids and kind > 0 else ""
        matched = ""
        if kind == 2 and len(uids) > 3:
            places = sorted({0, len(uids) // 2, len(uids) - 1})
            numbers = ",".join(str(place + 1) for place in places)
            matched = f" ({numbers} {','.join(str(uids[place]) for place in places)})"
        return f"(QRESYNC ({self.validity} {self.modseq}{listed}{matched}))"


async def _disturb(wire: Wire, chance: random.Random, cache: Cache | None = None) -> None:
    count = chance.randint(1, 40)
    uids = f"{count}:{count + chance.randint(0, 6)}"
    match chance.randint(0, 4):
        case 0 | 1:
            text = f"APPEND INBOX ({chance.choice(FLAGS)}) {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}"
        case 2:
            text = f"UID STORE {uids} {chance.choice(['+', '-', ''])}FLAGS ({chance.choice(FLAGS)})"
        case 3:
            text = f"UID STORE {uids} +FLAGS.SILENT (\\Deleted)"
        case _:
            text = chance.choice(["EXPUNGE", f"UID EXPUNGE {uids}", f"UID MOVE {uids} Trash"])
    if cache is None:
        await wire.say(text)
    else:
        await cache.take(wire, text)


@pytest.mark.parametrize("log_kept", [100_000, 3])
@pytest.mark.parametrize("seed", range(4))
async def test_what_was_missed_makes_a_fresh_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, log_kept: int
) -> None:
    monkeypatch.setattr("mailbox_app.store.maildir.queries._EXPUNGED_KEPT", log_kept)
    if seed % 2:
        tiny_blocks(monkeypatch)
    chance = random.Random(seed)
    async with imap_server(tmp_path) as server:
        other = await Wire.open(server)
        await other.say("SELECT INBOX")
        cache = Cache()
        for round_number in range(12):
            mine = await Wire.open(server)
            await mine.say("ENABLE QRESYNC")
            parameter = cache.known(round_number % 3) if cache.modseq else ""
            await cache.take(mine, f"SELECT INBOX {parameter}".strip())
            for _ in range(chance.randint(0, 6)):
                await _disturb(other, chance)
                if chance.random() < 0.5:
                    await _disturb(mine, chance, cache)
            if chance.random() < 0.5:
                await cache.take(mine, "NOOP")
                await cache.take(mine, f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {cache.modseq} VANISHED)")
            mine.writer.close()
            for _ in range(chance.randint(0, 8)):
                await _disturb(other, chance)
        mine = await Wire.open(server)
        await mine.say("ENABLE QRESYNC")
        await cache.take(mine, f"SELECT INBOX {cache.known(seed % 3)}")
        fresh = Cache()
        fresh.hear(await mine.say("UID FETCH 1:* (FLAGS MODSEQ)"))
        assert cache.flags == fresh.flags
        mine.writer.close()
        other.writer.close()
