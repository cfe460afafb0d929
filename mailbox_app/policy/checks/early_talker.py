"""Clients that talk before they are greeted: no mail server does. RFC 5321 4.3.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.policy.check import Mode, QuickCheck
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding


class EarlyTalker(QuickCheck):
    """Speaks against all mail of the session; refuses nothing by itself."""

    name: ClassVar[str] = "early_talker"
    stage: ClassVar[Stage] = Stage.CONNECT
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, _tools: Tools) -> None:
        pass

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Only clients that never brought mail are made to wait, and so can be caught."""
        if not facts.talked_early:
            return ()
        return [Finding(self.name, "talked before it was greeted", score=3.0)]
