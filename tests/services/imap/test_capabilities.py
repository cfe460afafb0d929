"""Capabilities that the configuration keeps from some clients and accounts."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from mailbox_app.config.load import parse
from mailbox_app.config.schema import Imap
from mailbox_app.errors import ConfigError
from mailbox_app.services.imap.capabilities import hidden_capabilities
from tests.support.imap_server import PASSWORD, ImapServer, imap_server

RULES = ["Look: MOVE qresync", "joe@example.org: IDLE", "@example.net: ID", "*: UIDONLY"]


@pytest.mark.parametrize(
    ("client", "address", "hidden"),
    [
        ("", "", {"UIDONLY"}),
        ("Outlook 99", "", {"UIDONLY", "MOVE", "QRESYNC"}),
        ("", "joe@example.org", {"UIDONLY", "IDLE"}),
        ("", "a@example.net", {"UIDONLY", "ID"}),
        ("", "a@not-example.net", {"UIDONLY"}),
        ("joe@example.org", "ann@example.org", {"UIDONLY"}),
    ],
)
def test_rules_name_clients_accounts_domains_or_everybody(client: str, address: str, hidden: set[str]) -> None:
    assert hidden_capabilities(RULES, client, address) == hidden


def test_a_rule_is_checked_when_the_configuration_is_read() -> None:
    head = '[server]\nhostname = "mail.example.org"\n[imap]\nhide = '
    path = Path("config.toml")
    assert parse(f"{head}{RULES}".replace("'", '"'), path).imap.hide == RULES
    for wrong in ("MOVE", ": MOVE", "Look:", "Look:MOVE"):
        with pytest.raises(ConfigError, match="who: NAME"):
            parse(f'{head}["{wrong}"]', path)


async def _said(server: ImapServer, *commands: str) -> list[str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("".join(f"{number} {text}\r\n" for number, text in enumerate(commands)).encode())
    lines = []
    async with asyncio.timeout(10):
        while not lines or not lines[-1].startswith(f"{len(commands) - 1} "):
            lines.append((await reader.readline()).decode().strip())
    writer.close()
    return lines


async def test_what_is_hidden_is_neither_told_nor_known(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        hide = Imap(hide=["Broken: MOVE QRESYNC COMPRESS=DEFLATE STATUS=SIZE", "bob@example.org: IDLE"])
        server.service.reload(msgspec.structs.replace(server.service.config, imap=hide))
        lines = await _said(
            server,
            'ID ("name" "broken client")',
            f"LOGIN alice {PASSWORD}",
            "CAPABILITY",
            "ENABLE QRESYNC CONDSTORE",
            "COMPRESS DEFLATE",
            "SELECT INBOX",
            "UID MOVE 1 Trash",
            "STATUS INBOX (SIZE)",
            "UNSELECT",
        )
        told = next(line for line in lines if line.startswith("* CAPABILITY"))
        assert not {"MOVE", "QRESYNC", "COMPRESS=DEFLATE"} & set(told.split())
        assert {"IDLE", "CONDSTORE"} <= set(told.split())
        assert "* ENABLED CONDSTORE" in lines
        assert "4 BAD Unknown command" in lines
        assert "6 BAD Unknown command" in lines
        assert "* STATUS INBOX (SIZE 0)" in lines
        lines = await _said(server, f"LOGIN bob {PASSWORD}", "IDLE", "NOOP")
        assert "1 BAD Unknown command" in lines
        assert "COMPRESS=DEFLATE" in lines[1]


async def test_one_session_too_many_ends_the_idlest(tmp_path: Path) -> None:
    async with imap_server(tmp_path) as server:
        limit = 10
        few = Imap(max_sessions_per_account=limit)
        server.service.reload(msgspec.structs.replace(server.service.config, imap=few))
        peers = []
        for _ in range(limit):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"a LOGIN alice {PASSWORD}\r\n".encode())
            await reader.readline()
            assert b" OK " in await reader.readline()
            peers.append((reader, writer))
        peers[0][1].write(b"b NOOP\r\n")
        assert b" OK " in await peers[0][0].readline()
        lines = await _said(server, f"LOGIN alice {PASSWORD}", "NOOP")
        assert lines[-1] == "1 OK NOOP done"
        async with asyncio.timeout(10):
            assert (await peers[1][0].read()).startswith(b"* BYE [UNAVAILABLE] Too many sessions")
        peers[0][1].write(b"c NOOP\r\n")
        assert await peers[0][0].readline() == b"c OK NOOP done\r\n"
        await _said(server, f"LOGIN bob {PASSWORD}", "NOOP")
        for _, writer in peers:
            writer.close()
