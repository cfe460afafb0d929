"""The policy's part in a session: facts grow here, a stage's judgement becomes a refusal or goes on with the message.

Sessions of port 25 pass all stages. Those of our users pass none: their limits are in `SubmissionRates`. What the earlier stages
found is carried to the message's judgement; every decision is told to the sink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from mailbox_app.delivery.mail import Filing, Recipient
from mailbox_app.policy.facts import Facts, RecipientFacts, Stage
from mailbox_app.policy.pipeline import Pipeline
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.smtp.replies import Refusal, Reply

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession


class DecisionSink(Protocol):
    """Where every decision is told, with what it was made from; `delivery.explaining.Explainer`."""

    def note(
        self,
        facts: Facts,
        judgement: Judgement,
        filings: Sequence[Filing],
        reply: Reply,
        *,
        trace_id: str = "",
        stage: Stage | None = None,
        queue_ids: Sequence[str] = (),
        duration_seconds: float = 0.0,
        recipient: str = "",
        account: str = "",
    ) -> None:
        """One decision; quick. `recipient` is the refused one, `account` who submitted."""
        ...


class PolicyRefusal(Refusal):
    """A refusal by the policy, with everything it follows from."""

    def __init__(self, judgement: Judgement, verdict: Verdict, stage: Stage, *, address: str = "") -> None:
        finding = judgement.deciding(verdict)
        reply = _reply(judgement, verdict, finding)
        reason = "junk_score" if finding is None else finding.check
        super().__init__(reply.code, reply.enhanced, reply.text, reason=reason, address=address)
        self.judgement = judgement
        self.stage = stage


class Screening:
    """One per service. Without a pipeline everybody passes."""

    def __init__(self, pipeline: Pipeline | None, sink: DecisionSink | None) -> None:
        self._pipeline = pipeline
        self._sink = sink
        self._log = structlog.get_logger("policy")

    @property
    def is_on(self) -> bool:
        """Whether messages are judged."""
        return self._pipeline is not None

    async def connect(self, session: SmtpSession) -> None:
        """Before the greeting; raises `PolicyRefusal`."""
        if self._pipeline is None or session.kind != "smtp":
            return
        facts = session.facts
        judgement = await self._pipeline.connect(facts)
        _refuse(judgement, Stage.CONNECT)
        facts.findings.extend(judgement.findings)
        session.connect_findings = tuple(judgement.findings)

    async def sender(self, session: SmtpSession, sender: str) -> None:
        """At MAIL; raises `PolicyRefusal`."""
        facts = session.facts
        facts.sender = sender
        facts.helo = session.helo
        facts.tls = " ".join(session.tls) if session.tls else ""
        if self._pipeline is None or session.account is not None:
            return
        facts.findings = list(session.connect_findings)
        judgement = await self._pipeline.sender(facts)
        _refuse(judgement, Stage.SENDER, sender)
        facts.findings.extend(judgement.findings)

    async def recipient(self, session: SmtpSession, recipient: Recipient) -> None:
        """At RCPT, for one that delivery accepts; raises `PolicyRefusal`, which is about this recipient alone."""
        facts = session.facts
        canonical = getattr(recipient, "canonical", "") or recipient.address.lower()
        facts.recipients.append(RecipientFacts(recipient.address, canonical, recipient.accounts, recipient.outside))
        if self._pipeline is None or session.account is not None:
            return
        try:
            judgement = await self._pipeline.recipient(facts)
            _refuse(judgement, Stage.RECIPIENT, recipient.address)
        except BaseException:
            facts.recipients.pop()
            raise
        facts.findings.extend(judgement.findings)

    async def message(self, session: SmtpSession, seconds: float) -> Judgement:
        """At the end of content, when `facts.message` is there; raises `PolicyRefusal` when nobody may have it."""
        facts = session.facts
        if self._pipeline is None:
            return Judgement()
        judgement = await self._pipeline.message(facts, seconds)
        verdicts = [judgement.verdict(account.account_id) for each in facts.recipients for account in each.accounts]
        if not verdicts or any(each.outside for each in facts.recipients):
            verdicts.append(judgement.verdict())
        # One reply for all: only when nobody wants it is it refused, else it lies in the Junk mailbox of those who do not.
        if (verdict := min(verdicts)) >= Verdict.DEFER:
            raise PolicyRefusal(judgement, verdict, Stage.MESSAGE)
        return judgement

    def tell(
        self,
        session: SmtpSession,
        judgement: Judgement,
        filings: Sequence[Filing],
        reply: Reply,
        *,
        trace_id: str = "",
        stage: Stage | None = None,
        queue_ids: Sequence[str] = (),
        duration_seconds: float = 0.0,
        recipient: str = "",
    ) -> None:
        """Hand a decision to the sink; its trouble is never the message's."""
        if self._sink is None:
            return
        try:
            self._sink.note(
                session.facts,
                judgement,
                filings,
                reply,
                trace_id=trace_id,
                stage=stage,
                queue_ids=queue_ids,
                duration_seconds=duration_seconds,
                recipient=recipient,
                account=session.account.address if session.account is not None else "",
            )
        except Exception:  # noqa: BLE001 - the message is served already: an error here would make a duplicate
            self._log.exception("decision_not_noted", session_id=session.session_id)


def _refuse(judgement: Judgement, stage: Stage, address: str = "") -> None:
    if judgement.findings and (verdict := judgement.verdict()) >= Verdict.DEFER:
        raise PolicyRefusal(judgement, verdict, stage, address=address)


def _reply(judgement: Judgement, verdict: Verdict, finding: Finding | None) -> Reply:
    if finding is not None and finding.reply is not None:
        return finding.reply
    if finding is None:
        text = f"This looks like junk: score {judgement.score():g} of {judgement.reject_score:g}"
        return Reply(550, "5.7.1", text)
    if verdict is Verdict.DEFER:
        return Reply(450, "4.7.1", "Not now, try again later")
    return Reply(550, "5.7.1", "Not accepted by the policy of this server")
