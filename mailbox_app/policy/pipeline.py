"""Runs the checks of a stage together under one deadline and adds up what they say.

A check that raises or is late gives a finding without a score ("could not be made") and a line in the log, never a refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from mailbox_app.config.schema import Config
from mailbox_app.policy.check import Check, Mode
from mailbox_app.policy.checks import CHECKS
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Judgement

CONNECT_SECONDS = 3.0
SENDER_SECONDS = 5.0
RECIPIENT_SECONDS = 5.0
MESSAGE_SECONDS = 10.0

_ActiveCheck = tuple[Check, bool]
"""A check and whether it is only listened to."""


class Pipeline:
    """All checks of one process."""

    def __init__(self, tools: Tools, checks: Sequence[Check]) -> None:
        self._tools = tools
        self._checks = checks
        self._log = structlog.get_logger("policy")
        self._config: Config | None = None
        self._stages: dict[Stage, Sequence[_ActiveCheck]] = {}

    @classmethod
    def build(cls, tools: Tools) -> Pipeline:
        """With every check there is."""
        return cls(tools, [make(tools) for make in CHECKS])

    async def connect(self, facts: Facts) -> Judgement:
        """Before the greeting."""
        return await self._stage(Stage.CONNECT, facts, CONNECT_SECONDS)

    async def sender(self, facts: Facts) -> Judgement:
        """At MAIL."""
        return await self._stage(Stage.SENDER, facts, SENDER_SECONDS)

    async def recipient(self, facts: Facts) -> Judgement:
        """At RCPT, about the last of the recipients."""
        return await self._stage(Stage.RECIPIENT, facts, RECIPIENT_SECONDS)

    async def message(self, facts: Facts, seconds: float = MESSAGE_SECONDS) -> Judgement:
        """At the end of content: with what the earlier stages found, scores count."""
        found = await self._run(Stage.MESSAGE, facts, seconds)
        policy = self._tools.config().policy
        return Judgement((*facts.findings, *found), policy.junk_score, policy.reject_score)

    async def _stage(self, stage: Stage, facts: Facts, seconds: float) -> Judgement:
        return Judgement(tuple(await self._run(stage, facts, seconds)))

    async def _run(self, stage: Stage, facts: Facts, seconds: float) -> Sequence[Finding]:
        active = self._active(stage)
        if not active:
            return ()
        deadline = asyncio.get_running_loop().time() + seconds
        results = await asyncio.gather(*(self._one(check, facts, deadline) for check, _ in active))
        return [
            replace(finding, advisory=True) if advisory else finding
            for (_, advisory), findings in zip(active, results, strict=True)
            for finding in findings
        ]

    async def _one(self, check: Check, facts: Facts, deadline: float) -> Sequence[Finding]:
        try:
            async with asyncio.timeout_at(deadline):
                return await check.run(facts)
        except TimeoutError:
            self._log.warning("check_late", check=check.name, session_id=facts.session_id)
            return [Finding(check.name, "could not be made in time")]
        except Exception:  # noqa: BLE001 - a check that breaks must never cost a message
            self._log.exception("check_failed", check=check.name, session_id=facts.session_id)
            return [Finding(check.name, "could not be made")]

    def _active(self, stage: Stage) -> Sequence[_ActiveCheck]:
        config = self._tools.config()
        if config is not self._config:
            modes: dict[str, Mode] = config.policy.checks
            stages: dict[Stage, list[_ActiveCheck]] = {each: [] for each in Stage}
            for check in self._checks:
                mode = modes.get(check.name, check.default_mode)
                if mode != "off":
                    stages[check.stage].append((check, mode == "advisory"))
            self._stages.update(stages)
            self._config = config
        return self._stages[stage]
