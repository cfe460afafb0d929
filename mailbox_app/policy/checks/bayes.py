"""What the words of a message say, by what was learnt from junk and wanted mail: for each account, else for all.

Nothing is said before 20 messages of each class were learnt, by the account or by all together. Good words count in full only
for senders of whom somebody read or kept mail before and whose domain vouches for this one: anybody can write them, so they
must not outweigh what else is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from mailbox_app.ids import AccountId
from mailbox_app.policy.bayes import score_of
from mailbox_app.policy.check import Mode
from mailbox_app.policy.checks.reputation import is_welcome, known_senders
from mailbox_app.policy.content import content_of
from mailbox_app.policy.facts import Facts, MessageFacts, Stage
from mailbox_app.policy.identity import account_ids
from mailbox_app.policy.links import domains_of
from mailbox_app.policy.state.corpus import BASE
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding
from mailbox_app.policy.words import words_of

STRANGERS_LEAST = -1.0


class BayesCheck:
    """-3 to +6, by account."""

    name: ClassVar[str] = "bayes"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._corpus = tools.state.corpus

    def is_quick(self, facts: Facts) -> bool:
        """Who has learnt nothing asks nobody."""
        return self._corpus.is_known_silent(account_ids(facts))

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """One finding for all, or one for each account when one of them has an opinion of its own."""
        message = facts.message
        if message is None:
            return ()
        accounts = account_ids(facts)
        if self._corpus.is_known_silent(accounts):
            return ()
        words = await self._words(message)
        chances = await self._tools.offload.join(self._judge, accounts, words)
        if not chances:
            return ()
        identity, remembered = await known_senders(self._tools, facts)
        least = -math.inf if identity.aligned and is_welcome(identity.senders, remembered.known) else STRANGERS_LEAST
        base = chances.get(BASE)
        if base is not None and not any(each in chances for each in accounts):
            return _findings([(None, base)], least)
        return _findings(
            [(each, chance) for each in accounts if (chance := chances.get(each, base)) is not None], least
        )

    async def _words(self, message: MessageFacts) -> Sequence[int]:
        content = await content_of(message, self._tools.offload)
        found = message.derived.get("words")
        if not isinstance(found, list):
            found = words_of(message.header, content.text, domains_of(content), content.kinds)
            message.derived["words"] = found
        return found

    def _judge(self, accounts: Sequence[AccountId], words: Sequence[int]) -> Mapping[AccountId, float]:
        return self._corpus.likelihoods(accounts, words) if self._corpus.knows_enough(accounts) else {}


def _findings(chances: Sequence[tuple[AccountId | None, float]], least: float) -> Sequence[Finding]:
    findings = []
    for account_id, chance in chances:
        score = max(score_of(chance), least)
        if score:
            reason = f"its words look like {'junk' if score > 0 else 'wanted mail'} ({chance:.0%})"
            inputs = {"likelihood": round(chance, 4)}
            findings.append(Finding(BayesCheck.name, reason, score, account_id=account_id, inputs=inputs))
    return findings
