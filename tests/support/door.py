"""Checks with real state in a temporary folder, a fake clock and a fake DNS; and clients at the door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mailbox_app.accounts.directory import SqliteDirectory
from mailbox_app.accounts.model import Account, AccountState
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.ids import AccountId
from mailbox_app.mailauth.iprev import iprev
from mailbox_app.mailauth.results import AuthResults, DkimResult, DmarcResult, Result, SpfResult
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.facts import Facts, MessageFacts, RecipientFacts
from mailbox_app.policy.state_files import StateFiles
from mailbox_app.policy.tools import Tools
from mailbox_app.proto.header import Header
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver

HOSTNAME = "mail.example.org"
ALICE = Account(AccountId(1), "alice@example.org", AccountState.ACTIVE, 0, datetime(2026, 1, 1, tzinfo=UTC))
BLOCK = b"From: someone@sender.example\r\nSubject: hello\r\n\r\n"


class Door:
    """One process with its checks: `tools`, and the settings that hold now."""

    def __init__(self, folder: Path, clock: FakeClock, **sections: Any) -> None:
        self.clock = clock
        self.resolver = FakeResolver({}, clock)
        self.files = StateFiles(folder, clock)
        self.metrics = Metrics()
        self.offload = Offload(2)
        self.directory = SqliteDirectory(folder / "directory.db", clock)
        self.configure(**sections)
        self.tools = Tools(
            config=lambda: self.config,
            resolver=self.resolver,
            offload=self.offload,
            clock=clock,
            metrics=self.metrics,
            hostname=HOSTNAME,
            directory=self.directory,
            data_dir=folder,
            state=self.files.state,
        )

    def configure(self, **sections: Any) -> None:
        """A reload with these sections."""
        self.config = msgspec.convert({"server": {"hostname": HOSTNAME}, **sections}, Config)

    def named(self, remote_ip: str, name: str) -> None:
        """Give an IPv4 address a host name that leads back."""
        reverse = ".".join(reversed(remote_ip.split("."))) + ".in-addr.arpa"
        self.resolver.zone[(reverse, "PTR")] = [f"{name}."]
        self.resolver.zone[(name, "A")] = [remote_ip]

    def facts(
        self,
        remote_ip: str = "192.0.2.7",
        sender: str = "someone@sender.example",
        recipients: Sequence[str] = ("alice@example.org",),
        spf: Result = Result.NONE,
        helo: str = "mx.sender.example",
        message: MessageFacts | None = None,
    ) -> Facts:
        """A client that got as far as its last recipient, or its message."""

        async def ask_spf() -> SpfResult:
            return SpfResult(spf, sender.rpartition("@")[2] or helo, "mailfrom" if sender else "helo", sender)

        async def ask_name() -> str:
            return (await iprev(self.resolver, remote_ip)).name

        return Facts(
            "s1",
            remote_ip,
            helo=helo,
            sender=sender,
            spf=ask_spf,
            remote_name=ask_name,
            recipients=[RecipientFacts(each, each.lower(), (ALICE,)) for each in recipients],
            message=message,
        )

    def count(self, result: str) -> float:
        """The greylist metric."""
        return self.metrics.registry.get_sample_value("mailserver_greylist_checks_total", {"result": result}) or 0.0

    def close(self) -> None:
        """Close the files."""
        self.offload.close()
        self.files.close()
        self.directory.close()


@contextmanager
def opened(folder: Path, clock: FakeClock | None = None, **sections: Any) -> Iterator[Door]:
    """A door that is closed at the end."""
    door = Door(folder, clock or FakeClock(), **sections)
    try:
        yield door
    finally:
        door.close()


def message(
    *, spf: SpfResult | None = None, dkim: Sequence[DkimResult] = (), dmarc: DmarcResult | None = None, **more: Any
) -> MessageFacts:
    """A small message with these results."""
    auth = AuthResults(
        b"", "", spf or SpfResult(Result.NONE), dkim, dmarc or DmarcResult(Result.NONE, "sender.example"), **more
    )
    return MessageFacts(BLOCK, Header.parse(BLOCK), b"hi\r\n", len(BLOCK) + 4, "<1@sender.example>", auth)


def run(check: Any, facts: Facts) -> Any:
    """What a check finds."""
    return asyncio.run(check.run(facts))
