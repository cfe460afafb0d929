"""What a session keeps of results it follows is bounded, and the client is told when it is too much."""

import asyncio
from pathlib import Path

import pytest

from mailbox_app.proto.imap.search import HeaderText
from mailbox_app.services.imap import search_contexts, search_keys
from tests.support.imap_server import imap_server


async def _talk(port: int, commands: list[bytes]) -> list[bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    answers = []
    for number, command in enumerate([b"LOGIN alice secret", *commands]):
        writer.write(b"t%d %b\r\n" % (number, command))
        lines = b""
        async with asyncio.timeout(10):
            while not lines.split(b"\r\n")[-2:-1] or not lines.split(b"\r\n")[-2].startswith(b"t%d " % number):
                lines += await reader.readline()
        answers.append(lines)
    writer.close()
    return answers


async def test_results_beyond_the_bound_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_contexts, "MAX_FOLLOWED", 3)
    message = b"APPEND INBOX {4+}\r\na:b\n"
    async with imap_server(tmp_path) as server:
        answers = await _talk(
            server.port,
            [message, message, b"SELECT INBOX", b"UID SEARCH RETURN (UPDATE COUNT) ALL",
             b"UID SEARCH RETURN (UPDATE COUNT) UNSEEN", message, message, b"UID SEARCH RETURN (COUNT) ALL"],
        )  # fmt: skip
    first, second, third, fourth = answers[4:8]
    assert b"NOUPDATE" not in first
    assert b'* NO [NOUPDATE "t5"]' in second
    assert b"COUNT 2" in second
    assert b"ADDTO (0 3)" in third
    assert b'* NO [NOUPDATE "t4"]' in fourth
    assert b"ADDTO" not in fourth


def test_header_names_are_compiled_where_they_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of names would hold the loop for some tenths of a second."""
    made = []

    def pattern(name: bytes) -> object:
        made.append(name)
        raise RuntimeError

    monkeypatch.setattr(search_keys, "_field_pattern", pattern)
    leaf = search_keys.header_leaf(HeaderText(b"x-a", "text"))
    assert made == []
    with pytest.raises(RuntimeError):
        leaf.accept(b"x-a: text\r\n")
