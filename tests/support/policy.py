"""Checks run over facts built in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.config.load import parse
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.ids import AccountId
from mailbox_app.mailauth.results import AuthResults, DkimResult, DmarcResult, Result, SpfResult
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.check import Check
from mailbox_app.policy.facts import Facts, MessageFacts, RecipientFacts
from mailbox_app.policy.state_files import StateFiles
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding
from mailbox_app.proto.header import Header, header_end
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver


class Bench:
    """Tools over a fresh folder; close it when done."""

    def __init__(
        self, folder: Path, settings: str = "", zone: Mapping[tuple[str, str], Sequence[str]] | None = None
    ) -> None:
        self.config: Config = self.settings(settings)
        self.clock = FakeClock()
        self.files = StateFiles(folder, self.clock)
        self.offload = Offload(2)
        self.resolver = FakeResolver(zone)
        self.directory = SqliteDirectory(folder / "directory.db", self.clock)
        self.tools = Tools(
            config=lambda: self.config,
            resolver=self.resolver,
            offload=self.offload,
            clock=self.clock,
            metrics=Metrics(),
            hostname="mail.example.org",
            directory=self.directory,
            data_dir=folder,
            state=self.files.state,
        )

    @staticmethod
    def settings(text: str) -> Config:
        """A configuration with these sections."""
        return parse('[server]\nhostname = "mail.example.org"\n' + text, Path("config.toml"))

    def close(self) -> None:
        """End threads, close files."""
        self.offload.close()
        self.files.close()
        self.directory.close()

    def run(self, make: Callable[[Tools], Check], facts: Facts) -> Sequence[Finding]:
        """What one check finds."""
        return asyncio.run(self.run_async(make, facts))

    async def run_async(self, make: Callable[[Tools], Check], facts: Facts) -> Sequence[Finding]:
        """The same on a running loop."""
        return await make(self.tools).run(facts)


def account(number: int = 1, address: str = "") -> Account:
    """An account of the server."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Account(AccountId(number), address or f"user{number}@example.org", AccountState.ACTIVE, 0, at)


def passing(domain: str = "", dkim: Sequence[str] = ()) -> AuthResults:
    """DMARC that passes for a domain ("" for none), and valid signatures."""
    dmarc = DmarcResult(Result.PASS if domain else Result.NONE, domain)
    signatures = [DkimResult(Result.PASS, each) for each in dkim]
    return AuthResults(b"", "", SpfResult(Result.NONE), signatures, dmarc)


def facts_of(
    raw: bytes, *, auth: AuthResults | None = None, accounts: Sequence[Account] = (), remote_ip: str = "192.0.2.7"
) -> Facts:
    """A whole message for these accounts, at its end."""
    raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    end = header_end(raw)
    block = raw[:end]
    facts = Facts("s1", remote_ip, helo="client.example.net", sender="sender@example.net")
    facts.recipients = [RecipientFacts(each.address, each.address, [each]) for each in accounts or [account()]]
    facts.message = MessageFacts(block, Header.parse(block), raw[end:], len(raw), "<1@example.net>", auth)
    return facts
