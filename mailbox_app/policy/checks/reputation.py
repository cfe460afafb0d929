"""What is known about the sender from what people did with its mail: the most telling name that is decided, decides.

First the address, then its domain and organisation (all three only when the domain vouches for the message), then domains
that signed, the client's address and its network. A name is decided when enough people said the same. An account's own
experience comes before everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import ClassVar, NamedTuple

from mailbox_app.ids import AccountId
from mailbox_app.policy.check import Mode
from mailbox_app.policy.facts import Facts, Stage
from mailbox_app.policy.identity import Identity, account_ids, of_facts, organisation_of
from mailbox_app.policy.state.reputation import EVERYBODY, Tally
from mailbox_app.policy.tools import State, Tools
from mailbox_app.policy.verdict import Finding

Known = Mapping[AccountId, Mapping[str, Tally]]


class Remembered(NamedTuple):
    """What was read about the sender of a message."""

    known: Known
    wrote: Collection[AccountId]
    """The accounts that wrote to the author, when the domain vouches for the message."""


class _Shared:
    """One look-up that several checks wait for; that one of them is cancelled does not take it from the others."""

    def __init__(self, call: Coroutine[object, None, Remembered]) -> None:
        self._task = asyncio.get_running_loop().create_task(call)

    async def result(self) -> Remembered:
        return await asyncio.shield(self._task)


class _Rule(NamedTuple):
    """How much one kind of name says."""

    least: float
    """Messages somebody judged before it says anything."""
    good: float
    bad: float


_RULES: Mapping[str, _Rule] = {
    "address": _Rule(0.9, -4.0, 4.5),
    "domain": _Rule(2.5, -2.0, 3.0),
    "organisation": _Rule(3.5, -1.5, 2.0),
    "dkim": _Rule(3.5, -1.5, 2.0),
    "ip": _Rule(4.5, -1.0, 3.0),
    "network": _Rule(9.0, -0.5, 2.0),
}
_SEEN_WEIGHT = 0.2
"""A message that was only read says a fifth of one that was answered or taken out of Junk."""
_SEEN_MOST = 3.0
_GOOD_SHARE = 0.1
_BAD_SHARE = 0.7
_ALL_BAD_SHARE, _ALL_BAD_TIMES = 0.9, 1.5
"""Nearly nobody wanted any of it: that says more."""
_EVERYBODY_TIMES = 2.0
"""Others' experience must be so many times as large, and is worth half."""


class ReputationCheck:
    """-4 to +4.5, by account."""

    name: ClassVar[str] = "reputation"
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"
    is_about_strangers: ClassVar[bool] = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        organisation_of("example.org")  # reads the list of suffixes now, for that takes a moment

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """A finding for each account whose experience, or everybody's, decides."""
        accounts = account_ids(facts)
        identity, (known, _) = await known_senders(self._tools, facts)
        if not accounts or not known:
            return ()
        decided = {each: decide(identity.senders, known, each) for each in accounts}
        if len(set(decided.values())) == 1 and EVERYBODY in known and not any(each in known for each in accounts):
            decided = {EVERYBODY: decided[accounts[0]]}
        findings = []
        for account_id, found in decided.items():
            if found is not None:
                sender, score, tally = found
                what = "good" if score < 0 else "bad"
                findings.append(
                    Finding(
                        self.name,
                        f"{sender.replace(':', ' ', 1)} is known for {what} mail",
                        score,
                        account_id=account_id if account_id != EVERYBODY else None,
                        inputs={
                            "sender": sender,
                            "junk": round(tally.junk, 2),
                            "ham": round(tally.ham, 2),
                            "seen": round(tally.seen, 2),
                        },
                    )
                )
        return findings


async def known_senders(tools: Tools, facts: Facts) -> tuple[Identity, Remembered]:
    """Who sent it and what is known about that: read once for all checks of a message."""
    identity = of_facts(facts)
    message = facts.message
    if message is None:
        return identity, Remembered({}, ())
    task = message.derived.get("reputation")
    if task is None:
        task = _Shared(tools.offload.join(_remembered, tools.state, account_ids(facts), identity))
        message.derived["reputation"] = task
    assert isinstance(task, _Shared)
    return identity, await task.result()


def _remembered(state: State, accounts: Sequence[AccountId], identity: Identity) -> Remembered:
    """One question who wrote to the author when nobody did, which is the common case."""
    known, correspondents = state.reputation.tallies(accounts, identity.senders), state.correspondents
    if not (identity.aligned and identity.address and accounts) or not correspondents.knows(accounts, identity.address):
        return Remembered(known, ())
    return Remembered(known, {each for each in accounts if correspondents.knows([each], identity.address)})


def decide(senders: Sequence[str], known: Known, account_id: AccountId) -> tuple[str, float, Tally] | None:
    """(name, score, tally) of the first decided name: the account's own experience first, then everybody's."""
    for owner, times, worth in ((account_id, 1.0, 1.0), (EVERYBODY, _EVERYBODY_TIMES, 0.5)):
        tallies = known.get(owner, {})
        for sender in senders:
            tally = tallies.get(sender)
            if tally is None:
                continue
            score = _score(_RULES[sender.partition(":")[0]], tally, times)
            if score:
                return sender, score * worth, tally
    return None


def _score(rule: _Rule, tally: Tally, times: float) -> float:
    read = tally.seen * _SEEN_WEIGHT
    good = tally.ham + (read if times > 1 else min(read, _SEEN_MOST))  # many readers say more than one who reads much
    said = good + tally.junk
    if said < rule.least * times:
        return 0.0
    share = tally.junk / said
    if share >= _BAD_SHARE:
        return rule.bad * (_ALL_BAD_TIMES if share >= _ALL_BAD_SHARE and said >= 2 * rule.least * times else 1.0)
    return rule.good if share <= _GOOD_SHARE else 0.0


def is_welcome(senders: Sequence[str], known: Known) -> bool:
    """Whether somebody read or kept mail of one of these names, and more of it than was junk."""
    return any(
        tally.ham + tally.seen > tally.junk
        for tallies in known.values()
        for sender, tally in tallies.items()
        if sender in senders and not sender.startswith(("ip:", "network:"))
    )
