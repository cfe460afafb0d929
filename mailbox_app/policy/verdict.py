"""What checks say about a message, and what their words come to: the strictest verdict wins, scores add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from mailbox_app.ids import AccountId
from mailbox_app.proto.smtp.replies import Reply


class Verdict(IntEnum):
    """In order of strictness."""

    ACCEPT = 0
    JUNK = 1
    """Into the Junk mailbox, with the reasons."""
    DEFER = 2
    """4xx: not now."""
    REJECT = 3
    """5xx: never."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found. Immutable, plain values: it goes into the decision record as it is."""

    check: str
    """The check's name."""
    reason: str
    """For people, one short sentence or phrase: "listed by zen.example as a source of spam"."""
    score: float = 0.0
    """Added to the message's score; below zero speaks for the message."""
    verdict: Verdict = Verdict.ACCEPT
    """A verdict of its own, beside the score. ACCEPT has no say."""
    reply: Reply | None = None
    """What a DEFER or REJECT answers."""
    account_id: AccountId | None = None
    """Holds for this recipient only (a classifier of one person); None: for all."""
    inputs: Mapping[str, str | int | float] = field(default_factory=dict)
    """What it was decided from, enough to decide it again."""
    advisory: bool = False
    """The check is only listened to: recorded, but neither score nor verdict count. Set by the pipeline."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """All findings of a message and what follows from them."""

    findings: Sequence[Finding] = ()
    junk_score: float = 5.0
    """From this score on a message is junk."""
    reject_score: float = 0.0
    """From this score on it is refused; 0: a score alone never refuses."""

    def score(self, account_id: AccountId | None = None) -> float:
        """The sum for one recipient, or the part that is common to all."""
        if not self.findings:
            return 0.0
        return round(
            sum(
                finding.score
                for finding in self.findings
                if not finding.advisory and finding.account_id in (None, account_id)
            ),
            3,
        )

    def verdict(self, account_id: AccountId | None = None) -> Verdict:
        """For one recipient, or what is common to all."""
        own = [
            finding.verdict
            for finding in self.findings
            if finding.verdict and not finding.advisory and finding.account_id in (None, account_id)
        ]
        score = self.score(account_id)
        if self.reject_score and score >= self.reject_score:
            own.append(Verdict.REJECT)
        elif score >= self.junk_score:
            own.append(Verdict.JUNK)
        return max(own, default=Verdict.ACCEPT)

    def is_junk(self, account_id: AccountId | None = None) -> bool:
        """Whether it belongs into this recipient's Junk mailbox, if it is accepted at all."""
        return self.verdict(account_id) is not Verdict.ACCEPT

    def deciding(self, verdict: Verdict) -> Finding | None:
        """The first finding with this verdict of its own: its reply is the answer."""
        return next((each for each in self.findings if not each.advisory and each.verdict is verdict), None)
