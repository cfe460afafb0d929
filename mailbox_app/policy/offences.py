"""Counts what clients do wrong and right over all sessions and processes, and bans who searches for addresses.

Somebody with an old address list meets many unknown recipients, too, but also known ones: who finds as many as he misses is
left alone. Everything here is a count in memory; a ban is made in a thread.
"""

from __future__ import annotations

from mailbox_app.db.offload import Offload
from mailbox_app.policy.gate import Gate
from mailbox_app.policy.settings import narrow_network
from mailbox_app.policy.state.rates import DAY, HOUR
from mailbox_app.policy.tools import Tools

_MONTH = 30 * DAY


class Offences:
    """One per process."""

    def __init__(self, tools: Tools, gate: Gate) -> None:
        self._config = tools.config
        self._rates = tools.state.rates
        self._offload: Offload = tools.offload
        self._gate = gate

    def is_known(self, remote_ip: str) -> bool:
        """Whether this client brought mail within a month that was accepted."""
        return self._rates.count(f"good {narrow_network(remote_ip)}", _MONTH, 0) > 0

    def message_accepted(self, remote_ip: str) -> None:
        """It brought mail."""
        self._rates.count(f"good {narrow_network(remote_ip)}", _MONTH)

    def recipient_accepted(self, remote_ip: str) -> None:
        """It knew an address."""
        self._rates.count(f"found {narrow_network(remote_ip)}", HOUR)

    async def recipient_unknown(self, remote_ip: str) -> bool:
        """It did not know one; True when that was one too many and the client is banned now."""
        limit = self._config().abuse.ban_unknown_recipients
        network = narrow_network(remote_ip)
        missed = self._rates.count(f"missed {network}", HOUR)
        if not limit or missed < limit or self._rates.count(f"found {network}", HOUR, 0) >= missed:
            return False
        reason = f"searches for addresses: {missed} unknown recipients within an hour"
        return await self._offload.run(self._gate.ban, remote_ip, "policy", reason)
