"""How many messages a client and its network bring in an hour, at all processes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.checks.connection_rate import owner_text
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.settings import narrow_network, wide_network
from mailbox_app.policy.state.rates import HOUR
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply


class MessageRate(QuickCheck):
    """Too many must wait; nothing is lost, honest servers come back."""

    name: ClassVar[str] = "message_rate"
    stage: ClassVar[Stage] = Stage.SENDER
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Counts this message, refused or not."""
        limits, rates = self._tools.config().abuse, self._tools.state.rates
        for owner, network, limit in (
            ("client", narrow_network(facts.remote_ip), limits.client_messages_per_hour),
            ("network", wide_network(facts.remote_ip), limits.network_messages_per_hour),
        ):
            if limit and (count := rates.count(f"mail {network}", HOUR)) > limit:
                text = f"Too many messages from your {owner_text(owner)}: {limit} an hour may be, try again later"
                return [
                    Finding(
                        self.name,
                        f"{count} messages of {network} in an hour, {limit} may be",
                        verdict=Verdict.DEFER,
                        reply=Reply(450, "4.7.1", text),
                        inputs={"network": network, "count": count, "limit": limit},
                    )
                ]
        return ()
