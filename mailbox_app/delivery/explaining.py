"""Makes the explanation of each message: what was known, what each check said, what became of every copy.

Everything strange in it (names, subjects, reasons made from them) is cleaned and cut here, so that the journal and whoever
prints it need not care. No body and no secret comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mailbox_app.clock import Clock
from mailbox_app.delivery.mail import Filing
from mailbox_app.ids import AccountId
from mailbox_app.journal.explanations import Copy, Explanation, Outcome, Said
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.smtp.replies import Reply

_SHORT = 320
"""An address fits."""
_LONG = 500
_MAX_RECIPIENTS = 100
_MAX_STEPS = 200


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision about a message or a recipient, with everything it was made from."""

    facts: Facts
    judgement: Judgement
    reply: Reply
    filings: Sequence[Filing] = ()
    trace_id: str = ""
    stage: Stage | None = None
    """None: as far as the facts go."""
    queue_ids: Sequence[str] = ()
    duration_seconds: float = 0.0
    recipient: str = ""
    """The refused one, which is not among the accepted ones of the facts."""
    account: str = ""
    """Who submitted the message."""
    message_id: str = ""
    """The Message-ID that was added, when it came without."""


class Journal(Protocol):
    """Where explanations go; `journal.decisions.Decisions`."""

    def explain(self, explanation: Explanation) -> None:
        """Keep one; quick, never raises."""
        ...


class Explainer:
    """Tells the journal why."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def note(self, decided: Decided) -> None:
        """Keep one decision; quick."""
        facts, judgement, filings, reply = decided.facts, decided.judgement, decided.filings, decided.reply
        message = facts.message
        recipients = [each.address for each in facts.recipients[:_MAX_RECIPIENTS]]
        accounts = {account.account_id: account.address for each in facts.recipients for account in each.accounts}
        subject = message.header.first(b"subject") if message is not None else None
        auth = message.auth if message is not None else None
        self._journal.explain(
            Explanation(
                at_millis=int(self._clock.epoch_seconds() * 1000),
                outcome=_outcome(reply, judgement, filings),
                trace_id=decided.trace_id,
                session_id=facts.session_id,
                service=facts.service,
                remote=facts.remote_ip,
                remote_name=auth.iprev.name if auth is not None and auth.iprev is not None else "",
                account=decided.account,
                helo=clean(facts.helo, _SHORT),
                tls=facts.tls,
                sender=clean(facts.sender, _SHORT),
                recipients=[clean(each, _SHORT) for each in ([decided.recipient] if decided.recipient else recipients)],
                message_id=clean(decided.message_id or message.message_id, _SHORT) if message is not None else "",
                subject=clean((subject or b"").decode("utf-8", "replace"), _SHORT),
                size_bytes=message.size_bytes if message is not None else 0,
                code=reply.code,
                text=clean(f"{reply.enhanced} {reply.text}".strip().replace("\n", " "), _LONG),
                stage=decided.stage.value if decided.stage is not None else "message" if message is not None else "",
                authentication=auth.summary if auth is not None else "",
                score=judgement.score(),
                junk_score=judgement.junk_score,
                reject_score=judgement.reject_score,
                findings=[_said(each, accounts) for each in judgement.findings],
                copies=[_copy(each) for each in filings],
                queue_ids=list(decided.queue_ids),
                duration_seconds=round(decided.duration_seconds, 4),
            )
        )


def _outcome(reply: Reply, judgement: Judgement, filings: Sequence[Filing]) -> Outcome:
    if reply.code >= 500:
        return "refused"
    if reply.code >= 400:
        return "deferred"
    is_junk = judgement.verdict() is Verdict.JUNK or any(each.reason.startswith("junk") for each in filings)
    return "junk" if is_junk else "accepted"


def _said(finding: Finding, accounts: dict[AccountId, str]) -> Said:
    account = "" if finding.account_id is None else accounts.get(finding.account_id, str(finding.account_id))
    inputs = {name: clean(value, _LONG) if isinstance(value, str) else value for name, value in finding.inputs.items()}
    return Said(
        finding.check,
        clean(finding.reason, _LONG),
        finding.score,
        finding.verdict.name.lower(),
        account,
        finding.advisory,
        inputs,
    )


def _copy(filing: Filing) -> Copy:
    return Copy(
        clean(filing.address, _SHORT),
        filing.action,
        clean(filing.target, _LONG),
        clean(filing.reason, _LONG),
        [clean(step, _LONG) for step in filing.steps[:_MAX_STEPS]],
    )
