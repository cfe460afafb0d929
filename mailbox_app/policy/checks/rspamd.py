"""Another filter's opinion: a message from a stranger is shown to rspamd, its score and action are taken over in part."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import structlog

from mailbox_app.policy.check import Mode
from mailbox_app.policy.content import source_of
from mailbox_app.policy.facts import Facts, MessageFacts, Stage
from mailbox_app.policy.scanners import RspamdAnswer, ScannerError, ask_rspamd
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply

_MOST = 8.0
_LEAST = -4.0
_LATER = Reply(451, "4.7.1", "The message cannot be checked now, try again later")
_SOFT = Reply(451, "4.7.1", "Try again later")
_REFUSED = Reply(550, "5.7.1", "The message looks like spam")
_DEFERRING = frozenset({"soft reject", "greylist"})
_JUNK = frozenset({"add header", "rewrite subject"})


class Rspamd:
    """Off until `[rspamd] url` is set."""

    name: ClassVar[str] = "rspamd"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._log = structlog.get_logger("policy")

    def is_quick(self, facts: Facts) -> bool:
        """Without an address nobody is asked."""
        del facts
        return not self._tools.config().rspamd.url

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """One finding; trouble is none, or "come back" where the configuration says closed."""
        config = self._tools.config().rspamd
        message = facts.message
        if message is None or not config.url:
            return ()
        try:
            async with asyncio.timeout(config.timeout_seconds):
                headers = await self._headers(facts, message, config.password_file)
                source = source_of(message)
                answer = await ask_rspamd(config.url, headers, source, source.size_bytes, self._tools.offload)
        except (ScannerError, OSError, TimeoutError) as error:
            self._log.warning("rspamd_failed", session_id=facts.session_id, reason=str(error) or "too late")
            closed = config.fail == "closed"
            verdict, reply = (Verdict.DEFER, _LATER) if closed else (Verdict.ACCEPT, None)
            return [Finding(self.name, "rspamd did not answer", verdict=verdict, reply=reply)]
        return [finding_of(answer, config.weight, refuse=config.reject)]

    async def _headers(self, facts: Facts, message: MessageFacts, password_file: str) -> Sequence[tuple[str, str]]:
        headers = [
            ("IP", facts.remote_ip),
            ("Helo", facts.helo),
            ("From", facts.sender or "<>"),
            *(("Rcpt", recipient.address) for recipient in facts.recipients[:100]),
            ("Queue-Id", facts.session_id),
            ("TLS-Version", facts.tls.partition(" ")[0]),
            ("MTA-Name", self._tools.hostname),
        ]
        if facts.remote_name is not None and (name := await facts.remote_name()):
            headers.append(("Hostname", name))
        if password_file:
            headers.append(("Password", (await self._tools.offload.run(Path(password_file).read_text)).strip()))
        return headers


def finding_of(answer: RspamdAnswer, weight: float, *, refuse: bool) -> Finding:
    """What its answer is worth here."""
    score = max(_LEAST, min(_MOST, round(answer.score * weight, 2)))
    strongest = sorted(answer.symbols.items(), key=lambda item: -item[1].score)[:3]
    because = ", ".join(name for name, symbol in strongest if symbol.score > 0)[:200]
    reason = f"rspamd: {answer.action}, {answer.score:.1f}" + (f" ({because})" if because else "")
    inputs: dict[str, str | int | float] = {"action": answer.action, "score": answer.score}
    if answer.action == "reject":
        if refuse:
            return Finding(Rspamd.name, reason, score, Verdict.REJECT, _REFUSED, inputs=inputs)
        return Finding(Rspamd.name, reason, score, Verdict.JUNK, inputs=inputs)
    if answer.action in _DEFERRING:  # greylisting is our own business; a soft reject is a limit of its own
        soft = answer.action == "soft reject"
        verdict, reply = (Verdict.DEFER, _SOFT) if soft else (Verdict.ACCEPT, None)
        return Finding(Rspamd.name, reason, score, verdict, reply, inputs=inputs)
    verdict = Verdict.JUNK if answer.action in _JUNK else Verdict.ACCEPT
    return Finding(Rspamd.name, reason, score, verdict, inputs=inputs)
