"""Word of progress during long searches. RFC 9585"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.imap_server import QuickClock, imap_server


class LeapingClock(QuickClock):
    """Each look at it finds it later by `leap_seconds`."""

    def __init__(self) -> None:
        super().__init__()
        self.leap_seconds = 0.0
        self._ahead_seconds = 0.0

    def monotonic_seconds(self) -> float:
        self._ahead_seconds += self.leap_seconds
        return super().monotonic_seconds() + self._ahead_seconds


async def test_a_long_search_says_how_far_it_is(tmp_path: Path) -> None:
    clock = LeapingClock()
    async with imap_server(tmp_path, clock=clock) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def ask(tag: str, command: str) -> list[str]:
            writer.write(f"{tag} {command}\r\n".encode())
            lines: list[str] = []
            while not lines or not lines[-1].startswith(f"{tag} "):
                lines.append((await reader.readline()).decode().strip())
            return lines

        await ask("a", "LOGIN alice secret")
        for number in range(45):
            text = f"Subject: s{number}\r\n\r\nbody {number}\r\n"
            await ask("b", f"APPEND INBOX {{{len(text)}+}}\r\n{text}")
        await ask("c", "SELECT INBOX")
        assert await ask("d", "SEARCH BODY xy") == ["* SEARCH", "d OK SEARCH done"]
        clock.leap_seconds = 2.0
        lines = await ask("e", "SEARCH BODY xy")
        assert '* OK [INPROGRESS ("e" NIL NIL)] Still at work' in lines
        assert lines[-2:] == ["* SEARCH", "e OK SEARCH done"]
        assert 1 <= len(lines) - 2 <= 4
        assert (await ask("f", "SEARCH ALL"))[0].startswith("* SEARCH 1 2 3")
        writer.close()
