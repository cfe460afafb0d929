"""How often a client and its network connect in a minute, at all processes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.settings import narrow_network, wide_network
from mailbox_app.policy.state.rates import MINUTE
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply


class ConnectionRate(QuickCheck):
    """Too many are told to come back."""

    name: ClassVar[str] = "connection_rate"
    stage: ClassVar[Stage] = Stage.CONNECT
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Counts this connection, refused or not."""
        limits, rates = self._tools.config().abuse, self._tools.state.rates
        for owner, network, limit in (
            ("client", narrow_network(facts.remote_ip), limits.client_connections_per_minute),
            ("network", wide_network(facts.remote_ip), limits.network_connections_per_minute),
        ):
            if limit and (count := rates.count(f"connect {network}", MINUTE)) > limit:
                return [
                    Finding(
                        self.name,
                        f"{count} connections of {network} in a minute, {limit} may be",
                        verdict=Verdict.DEFER,
                        reply=Reply(
                            421, "4.7.0", f"Too many connections from your {owner_text(owner)}, try again later"
                        ),
                        inputs={"network": network, "count": count, "limit": limit},
                    )
                ]
        return ()


def owner_text(owner: str) -> str:
    """How a reply calls it."""
    return "address" if owner == "client" else "network"
