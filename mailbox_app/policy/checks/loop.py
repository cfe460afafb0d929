"""Has this message been here too often? A mailbox that forwards to one that forwards back must not run for ever."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply

MOST_PASSES = 3
"""A message may honestly come by again (a list, an outside alias that leads back); not so often."""
_LOOP = Reply(554, "5.4.6", "Mail loop: this message has been here before")


class Loop(QuickCheck):
    """Refuses what this server has handled three times, or once for the same recipient."""

    name: ClassVar[str] = "loop"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._by_us = re.compile(rb"\bby " + re.escape(tools.hostname.encode()) + rb"(?=[\s;(]|\Z)", re.IGNORECASE)

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """RFC 5321 6.3: our own Received fields, and Delivered-To fields that name a recipient."""
        message = facts.message
        if message is None:
            return ()
        passes = sum(1 for value in message.header.all(b"received") if self._by_us.search(value))
        if not passes:
            return ()
        inputs = {"passes": passes}
        if passes >= MOST_PASSES:
            reason = f"has passed this server {passes} times"
            return [Finding(self.name, reason, verdict=Verdict.REJECT, reply=_LOOP, inputs=inputs)]
        delivered = {
            value.decode("utf-8", "replace").strip("<>").lower() for value in message.header.all(b"delivered-to")
        }
        for recipient in facts.recipients:
            if delivered & {recipient.address.lower(), recipient.canonical.lower()}:
                reason = f"was delivered to {recipient.canonical} before"
                return [Finding(self.name, reason, verdict=Verdict.REJECT, reply=_LOOP, inputs=inputs)]
        return ()
