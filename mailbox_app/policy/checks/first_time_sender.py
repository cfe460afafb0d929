"""A stranger to this account, its domain included: nothing bad, but not what friends are. A small score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mailbox_app.ids import AccountId
from mailbox_app.policy.check import Mode
from mailbox_app.policy.checks.reputation import Known, known_senders
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.identity import Identity, account_ids
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding

_SCORE = 0.5
_CORRESPONDENT = -3.0


class FirstTimeSender:
    """+0.5 for strangers; -3 for those the account wrote to, when their domain vouches for them."""

    name: ClassVar[str] = "first_time_sender"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"
    is_about_strangers: ClassVar[bool] = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """A finding for each account that never had mail from there, or that wrote there."""
        accounts = account_ids(facts)
        if not accounts:
            return ()
        identity, (known, written) = await known_senders(self._tools, facts)
        findings = [
            Finding(self.name, "the account wrote to this address", _CORRESPONDENT, account_id=each) for each in written
        ]
        strangers = [each for each in accounts if each not in written and _is_stranger(each, identity, known)]
        if len(strangers) == len(accounts):
            return [Finding(self.name, "the first mail from this sender", _SCORE)]
        findings += [
            Finding(self.name, "the first mail from this sender", _SCORE, account_id=each) for each in strangers
        ]
        return findings


def _is_stranger(account_id: AccountId, identity: Identity, known: Known) -> bool:
    tallies = known.get(account_id, {})
    names = [each for each in identity.senders if not each.startswith(("ip:", "network:"))] or identity.senders
    return not any(name in tallies for name in names)
