"""Asks the configured DNS lists about the client: block lists add to the score and refuse nothing by themselves; whom an allow
list knows is never greylisted and may gain by its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from mailbox_app.config.schema import Config, DnsList
from mailbox_app.mailauth.checks import is_private
from mailbox_app.policy.check import Mode
from mailbox_app.policy.dns_lists import DnsLists
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding


class _Listed:
    """One finding per list that knows the address."""

    name: ClassVar[str]
    stage: ClassVar[Stage] = Stage.SENDER
    default_mode: ClassVar[Mode] = "enforce"
    _words: ClassVar[str]

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lists = DnsLists(tools.resolver, tools.clock, tools.metrics)

    def _configured(self, config: Config) -> Mapping[str, DnsList]:
        raise NotImplementedError

    def is_quick(self, facts: Facts) -> bool:
        """Without lists nobody is asked."""
        del facts
        return not self._configured(self._tools.config())

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nobody on this machine or in its network is asked about."""
        self._lists.configure(self._configured(self._tools.config()))
        if is_private(facts.remote_ip):
            return ()
        return [
            Finding(
                self.name,
                f"{self._words} {each.zone}: {each.meaning}",
                each.score,
                inputs={"zone": each.zone, "answer": each.answer, "remote_ip": facts.remote_ip},
            )
            for each in await self._lists.look(facts.remote_ip)
        ]


class Dnsbl(_Listed):
    """Who is known for spam."""

    name: ClassVar[str] = "dnsbl"
    _words: ClassVar[str] = "listed by"

    def _configured(self, config: Config) -> Mapping[str, DnsList]:
        return config.dnsbl.lists


class Dnswl(_Listed):
    """Who is known for good mail."""

    name: ClassVar[str] = "dnswl"
    _words: ClassVar[str] = "known to"

    def _configured(self, config: Config) -> Mapping[str, DnsList]:
        return config.dnswl.lists
