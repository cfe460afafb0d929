"""Runs the checks of a stage together under one deadline and adds up what they say.

Clients of trusted networks pass all stages before the message; senders on the allow list pass everything, unless SPF or DMARC
says that somebody else uses their name. Checks with `is_safety = True` (what harms whoever sent it) look at those, too.

A check that raises or is late gives a finding without a score ("could not be made") and a line in the log, never a refusal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from mailbox_app.config.schema import Config
from mailbox_app.mailauth.results import Result
from mailbox_app.policy.check import Check, Mode
from mailbox_app.policy.checks import CHECKS
from mailbox_app.policy.content import source_of
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.identity import author_of
from mailbox_app.policy.settings import Settings
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Judgement

CONNECT_SECONDS = 3.0
SENDER_SECONDS = 5.0
RECIPIENT_SECONDS = 5.0
MESSAGE_SECONDS = 10.0

_FORGED = (Result.FAIL, Result.SOFTFAIL)
_NOTHING = Judgement()

_ActiveCheck = tuple[Check, bool]
"""A check and whether it is only listened to."""


class Pipeline:
    """All checks of one process."""

    def __init__(self, tools: Tools, checks: Sequence[Check]) -> None:
        self._tools = tools
        self._checks = checks
        self._log = structlog.get_logger("policy")
        self._config: Config | None = None
        self._settings = Settings(tools.config().policy)
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
        policy = self._tools.config().policy
        active = self._active(Stage.MESSAGE)
        earlier: Sequence[Finding] = facts.findings
        entry = self._allowed(facts)
        if entry:
            active = [each for each in active if getattr(each[0], "is_safety", False)]
            earlier = [replace(finding, advisory=True) for finding in earlier]
        elif self._settings.trusts(facts.remote_ip):  # programs of this machine write short headers
            active = [each for each in active if not getattr(each[0], "is_about_strangers", False)]
        found = await self._run(active, facts, seconds)
        named = [_allowance(entry)] if entry else []
        return Judgement((*named, *earlier, *found), policy.junk_score, policy.reject_score)

    async def _stage(self, stage: Stage, facts: Facts, seconds: float) -> Judgement:
        active = self._active(stage)
        if not active or self._settings.trusts(facts.remote_ip) or self._settings.allows_client(facts.remote_ip):
            return _NOTHING
        if stage is not Stage.CONNECT and await self._allowed_so_far(facts, seconds):
            return _NOTHING
        return Judgement(tuple(await self._run(active, facts, seconds)))

    async def _allowed_so_far(self, facts: Facts, seconds: float) -> bool:
        """Whether the envelope sender is on the allow list and SPF does not say that it is forged."""
        if not self._settings.allows_sender(facts.sender):
            return False
        if facts.spf is None:
            return True
        try:
            async with asyncio.timeout(seconds):
                return (await facts.spf()).result not in _FORGED
        except TimeoutError:
            return False

    def _allowed(self, facts: Facts) -> str:
        """The entry of the allow list that lets this message pass, or ""."""
        settings = self._settings
        if entry := settings.allows_client(facts.remote_ip):
            return entry
        if not settings.has_senders or facts.message is None:
            return ""
        auth = facts.message.auth
        address, domain = author_of(facts.message.header)
        entry = settings.allows_sender(address or domain)
        if entry and auth is not None and auth.dmarc.result is Result.PASS:
            return entry
        entry = settings.allows_sender(facts.sender)
        if entry and (auth is None or (auth.spf.result not in _FORGED and auth.dmarc.result is not Result.FAIL)):
            return entry
        return ""

    async def _run(self, active: Sequence[_ActiveCheck], facts: Facts, seconds: float) -> Sequence[Finding]:
        """Checks that wait go at once, each in a task; the others are made meanwhile, in this one."""
        found: dict[Check, Sequence[Finding]] = {}
        quick = [check for check, _ in active if _is_quick(check, facts)]
        waiting = [check for check, _ in active if check not in quick] if len(quick) < len(active) else []
        if not waiting and (facts.message is None or source_of(facts.message).is_small):  # nothing to wait for
            for check in quick:
                found[check] = await self._one(check, facts)
        elif active:
            await self._in_time(quick, waiting, facts, seconds, found)
        return [
            replace(finding, advisory=True) if advisory else finding
            for check, advisory in active
            for finding in found.get(check, ())
        ]

    async def _in_time(
        self,
        quick: Sequence[Check],
        waiting: Sequence[Check],
        facts: Facts,
        seconds: float,
        found: dict[Check, Sequence[Finding]],
    ) -> None:
        async def make(check: Check) -> None:
            found[check] = await self._one(check, facts)

        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(make(check)) for check in waiting] if len(waiting) > 1 else []
        try:
            async with asyncio.timeout(seconds):
                for check in quick if tasks else (*quick, *waiting):
                    await make(check)
                if tasks:
                    await asyncio.gather(*tasks)
        except TimeoutError:
            for check in (*quick, *waiting):
                if check not in found:
                    self._log.warning("check_late", check=check.name, session_id=facts.session_id)
                    found[check] = [Finding(check.name, "could not be made in time")]
        finally:
            if unfinished := [task for task in tasks if not task.done()]:
                for task in unfinished:
                    task.cancel()
                await asyncio.gather(*unfinished, return_exceptions=True)

    async def _one(self, check: Check, facts: Facts) -> Sequence[Finding]:
        try:
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
            if unknown := sorted(modes.keys() - {check.name for check in self._checks}):
                self._log.warning("unknown_checks", names=unknown)
            self._stages.update(stages)
            self._settings = Settings(config.policy)
            self._config = config
        return self._stages[stage]


def _is_quick(check: Check, facts: Facts) -> bool:
    is_quick = getattr(check, "is_quick", None)
    return is_quick is not None and bool(is_quick(facts))


def _allowance(entry: str) -> Finding:
    return Finding("allow_list", f"{entry} is on the allow list")
