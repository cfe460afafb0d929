"""Clients that are kept out for now. Told to come back, unless an administrator banned them for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.state.bans import Ban
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply


class Bans(QuickCheck):
    """Asks the table of bans; the same holds at the door of every other protocol."""

    name: ClassVar[str] = "bans"
    stage: ClassVar[Stage] = Stage.CONNECT
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._bans = tools.state.bans

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """A refusal while a ban holds."""
        ban = self._bans.find(facts.remote_ip)
        return () if ban is None else [ban_finding(ban)]


def ban_finding(ban: Ban) -> Finding:
    """What a ban says."""
    inputs: dict[str, str | int | float] = {
        "network": ban.network,
        "source": ban.source,
        "expires_at": ban.expires_at_seconds,
    }
    if ban.expires_at_seconds:
        reply = Reply(421, "4.7.0", "Your address is banned for now, try again later")
        return Finding(Bans.name, ban.reason, verdict=Verdict.DEFER, reply=reply, inputs=inputs)
    reply = Reply(554, "5.7.1", "Your address is banned")
    return Finding(Bans.name, ban.reason, verdict=Verdict.REJECT, reply=reply, inputs=inputs)
