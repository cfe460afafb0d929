"""Viruses: a message from a stranger is streamed to clamd."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import structlog

from mailbox_app.policy.check import Mode
from mailbox_app.policy.content import source_of
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.scanners import ScannerError, ask_clamd
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply

_LATER = Reply(451, "4.7.1", "The message cannot be checked now, try again later")
_REFUSED = Reply(550, "5.7.1", "The message holds a virus")


class Clamav:
    """Off until `[clamav] address` is set."""

    name: ClassVar[str] = "clamav"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"
    is_safety: ClassVar[bool] = True
    """Allowed senders may have caught one, too."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._log = structlog.get_logger("policy")

    def is_quick(self, facts: Facts) -> bool:
        """Without an address nobody is asked."""
        del facts
        return not self._tools.config().clamav.address

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """One finding for a virus; trouble is none, or "come back" where the configuration says closed."""
        config = self._tools.config().clamav
        message = facts.message
        if message is None or not config.address:
            return ()
        source = source_of(message)
        size_bytes = min(source.size_bytes, config.max_bytes)
        try:
            async with asyncio.timeout(config.timeout_seconds):
                virus = await ask_clamd(config.address, source, size_bytes, self._tools.offload)
        except (ScannerError, OSError, TimeoutError) as error:
            self._log.warning("clamav_failed", session_id=facts.session_id, reason=str(error) or "too late")
            closed = config.fail == "closed"
            verdict, reply = (Verdict.DEFER, _LATER) if closed else (Verdict.ACCEPT, None)
            return [Finding(self.name, "clamd did not answer", verdict=verdict, reply=reply)]
        if not virus:
            return ()
        reason, inputs = f"holds the virus {virus[:100]}", {"virus": virus[:100]}
        if config.action == "reject":
            return [Finding(self.name, reason, 10.0, Verdict.REJECT, _REFUSED, inputs=inputs)]
        return [Finding(self.name, reason, 10.0, Verdict.JUNK, inputs=inputs)]
