"""Asks the configured block lists about the client. Only scores: no list refuses mail by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.mailauth.checks import is_private
from mailbox_app.policy.check import Mode
from mailbox_app.policy.dns_lists import DnsLists
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding


class Dnsbl:
    """Who is known for spam."""

    name: ClassVar[str] = "dnsbl"
    stage: ClassVar[Stage] = Stage.SENDER
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._lists = DnsLists(tools.resolver, tools.clock, tools.metrics)

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """One finding per list that knows the address."""
        self._lists.configure(self._tools.config().dnsbl.lists)
        if is_private(facts.remote_ip):
            return ()
        return [
            Finding(
                self.name,
                f"listed by {each.zone}: {each.meaning}",
                each.score,
                inputs={"zone": each.zone, "answer": each.answer, "remote_ip": facts.remote_ip},
            )
            for each in await self._lists.look(facts.remote_ip)
        ]
