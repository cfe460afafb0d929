"""Asks strangers that look risky to come back (RFC 6647); mail servers do. Kind by rule: see docs/greylisting.md.

Decided at RCPT, once per recipient as it is after aliases. Two cases wait for the message: a null sender, so that another server
that only asks whether an address exists is never held up, and a domain known to sign its mail, whose signature is then
looked at. What SPF or DNS could not say in time counts as unknown; storage that fails lets everything pass.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mailbox_app.config.load import seconds
from mailbox_app.config.schema import Config
from mailbox_app.mailauth.results import Result, SpfResult
from mailbox_app.policy.check import Mode
from mailbox_app.policy.facts import Facts, RecipientFacts, Stage
from mailbox_app.policy.names import is_generic, is_same_owner, registered_domain
from mailbox_app.policy.settings import Settings, wide_network
from mailbox_app.policy.state.greylist import Attempt, Rule
from mailbox_app.policy.tools import Tools
from mailbox_app.policy.verdict import Finding, Verdict
from mailbox_app.proto.smtp.replies import Reply

_NAME = "greylist"
_DNS_SECONDS = 4.0
"""Less than the stage has: what DNS does not say by then is unknown, and the decision is still made."""
_NOTED_AGAIN_SECONDS = 86_400.0
_MAX_NOTED = 10_000
_WORDS = {
    "known": "came back before",
    "network_known": "its network came back often enough",
    "domain_known": "its domain proved itself before",
    "came_back": "came back after the wait",
    "ceiling": "waited long enough",
    "correspondent": "the recipient wrote to this sender",
    "error": "the greylist cannot be read",
}


@dataclass(frozen=True, slots=True)
class _Client:
    """What is the same for all recipients."""

    origin: str
    sender_domain: str
    spf: Result
    reason: str
    """Why it should wait; "": nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one recipient: a word for metrics and records."""

    word: str
    reason: str = ""
    wait_seconds: float = 0.0
    attempts: int = 0


class _Door:
    """What both stages share."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._config: Config | None = None
        self._rule = Rule(0, 0, 0, 0, 0)
        self._settings = Settings(tools.config().policy)

    def is_open(self, facts: Facts) -> bool:
        """Whether this client waits under no circumstances."""
        config = self._tools.config()
        if config is not self._config:
            settings = config.greylist
            self._rule = Rule(
                seconds(settings.min_delay),
                seconds(settings.max_age),
                seconds(settings.ceiling),
                settings.attempts,
                settings.network_passes,
            )
            self._settings = Settings(config.policy)
            self._config = config
        return not config.greylist.enabled or facts.service != "smtp" or self._settings.is_exempt(facts.remote_ip)

    async def client(self, facts: Facts) -> _Client:
        """Who is there, and whether it looks risky."""
        spf, (name, name_reason) = await asyncio.gather(_spf(facts), self._host_name(facts))
        sender_domain = facts.sender.rpartition("@")[2].lower().rstrip(".")
        if spf.result is Result.PASS and sender_domain and spf.domain.lower() == sender_domain:
            origin = f"spf:{sender_domain}"
        elif name:
            origin = f"ptr:{registered_domain(name)}"
        else:
            origin = wide_network(facts.remote_ip)
        reasons = []
        if spf.result is not Result.PASS and (sender_domain or spf.result is Result.FAIL or not name):
            reasons.append(f"SPF says {spf.result.value}")
        if name_reason:
            reasons.append(name_reason)
        listed = [each for each in facts.findings if each.check == "dnsbl" and not each.advisory and each.score > 0]
        reasons.extend(each.reason for each in listed[:1])
        if not reasons and self._tools.config().greylist.who == "unknown":
            reasons.append("not seen before")
        if any(each.check == "dnswl" and not each.advisory and "zone" in each.inputs for each in facts.findings):
            reasons.clear()
        return _Client(origin, sender_domain, spf.result, ", ".join(reasons))

    async def _host_name(self, facts: Facts) -> tuple[str, str]:
        """(confirmed name worth keying by or "", what is wrong with it)."""
        if facts.remote_name is None:
            return "", ""
        try:
            async with asyncio.timeout(_DNS_SECONDS):
                name = await facts.remote_name()
        except TimeoutError:
            return "", "its host name could not be found out"
        if not name:
            return "", "no confirmed host name"
        if is_generic(name, facts.remote_ip):
            return "", "the host name looks like one of a pool"
        return name, ""

    async def ask(self, facts: Facts, client: _Client, recipient: RecipientFacts, *, may_move: bool) -> _Answer:
        """Decide about one recipient; `may_move`: a domain that signs may show its signature first."""
        answer = await self._tools.offload.run(self._ask, facts, client, recipient, may_move)
        self._tools.metrics.greylist_checks.labels("deferred" if answer.word == "waits" else answer.word).inc()
        return answer

    def _ask(self, facts: Facts, client: _Client, recipient: RecipientFacts, may_move: bool) -> _Answer:
        state, sender, rule = self._tools.state, facts.sender.lower(), self._rule
        for address in {recipient.canonical.lower(), recipient.address.lower()}:
            if why := state.allowances.why(facts.remote_ip, sender, address):
                return _Answer("allowed", why)
        accounts = [account.account_id for account in recipient.accounts]
        if client.spf is not Result.FAIL and state.correspondents.knows(accounts, sender):
            return _Answer("correspondent")
        if client.sender_domain:
            known = state.greylist.domain(client.sender_domain, rule.max_age_seconds)
            if client.spf is Result.PASS and known.spf_at_seconds:
                return _Answer("domain_known")
            if may_move and known.dkim_at_seconds:
                return _Answer("signature_awaited")
        attempt = Attempt(
            client.origin,
            sender,
            client.sender_domain or f"<> {facts.helo.lower()[:253]}",
            recipient.canonical.lower(),
            facts.remote_ip,
            client.reason,
            is_disowned=client.spf is Result.FAIL,
        )
        decision = state.greylist.decide(attempt, rule)
        return _Answer(decision.word, client.reason, decision.wait_seconds, decision.attempts)

    def count(self, word: str) -> None:
        """One decision that asked nobody."""
        self._tools.metrics.greylist_checks.labels(word).inc()

    def finding(self, answer: _Answer, client: _Client, recipient: RecipientFacts) -> Sequence[Finding]:
        """For the record, and the refusal when it waits."""
        inputs: dict[str, str | int | float] = {"origin": client.origin, "recipient": recipient.canonical}
        if answer.word == "signature_awaited":
            return ()
        if answer.word != "waits":
            return [Finding(_NAME, _WORDS.get(answer.word, answer.reason or answer.word), inputs=inputs)]
        minutes = max(1, -(-int(answer.wait_seconds) // 60))
        unit = "minute" if minutes == 1 else "minutes"
        wait = f"{minutes} {unit}" if answer.wait_seconds > 60 else f"{max(1, round(answer.wait_seconds))} seconds"
        inputs |= {"wait_seconds": round(answer.wait_seconds), "attempts": answer.attempts}
        return [
            Finding(
                _NAME,
                f"asked to come back in {wait}: {answer.reason}",
                verdict=Verdict.DEFER,
                reply=Reply(451, "4.7.1", f"Greylisted: we do not know you yet, please try again in {wait}"),
                inputs=inputs,
            )
        ]


class Greylist:
    """At RCPT."""

    name: ClassVar[str] = _NAME
    stage: ClassVar[Stage] = Stage.RECIPIENT
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._door = _Door(tools)

    def is_quick(self, facts: Facts) -> bool:
        """Who may come in is asked nothing."""
        return self._door.is_open(facts)

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nothing for who may come in."""
        if self._door.is_open(facts) or not facts.sender:
            return ()
        client = await self._door.client(facts)
        if not client.reason:
            self._door.count("not_suspicious")
            return ()
        recipient = facts.recipients[-1]
        answer = await self._door.ask(facts, client, recipient, may_move=client.spf is not Result.PASS)
        return self._door.finding(answer, client, recipient)


class GreylistMessage:
    """At the end of content: null senders, domains that sign, and learning whom to know next time."""

    name: ClassVar[str] = _NAME
    stage: ClassVar[Stage] = Stage.MESSAGE
    default_mode: ClassVar[Mode] = "enforce"

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._door = _Door(tools)
        self._noted: OrderedDict[tuple[str, bool, bool], float] = OrderedDict()

    def is_quick(self, facts: Facts) -> bool:
        """Who may come in is asked nothing."""
        return self._door.is_open(facts)

    async def run(self, facts: Facts) -> Sequence[Finding]:
        """Nothing for who may come in."""
        if self._door.is_open(facts):
            return ()
        sender_domain = facts.sender.rpartition("@")[2].lower().rstrip(".")
        spf, dkim = _proofs(facts, sender_domain)
        findings: list[Finding] = []
        if not facts.sender or not spf:
            findings = await self._decide(facts, signed=dkim)
        if not any(each.verdict is Verdict.DEFER for each in findings):
            await self._learn(facts, sender_domain, spf=spf, dkim=dkim)
        return findings

    async def _decide(self, facts: Facts, *, signed: bool) -> list[Finding]:
        """About all recipients that RCPT let through only to see the message."""
        passed = {each.inputs.get("recipient") for each in facts.findings if each.check == _NAME}
        left = [each for each in facts.recipients if each.canonical not in passed]
        if not left or signed:
            return []
        client = await self._door.client(facts)
        if not client.reason:
            if not facts.sender:
                self._door.count("not_suspicious")
            return []
        findings: list[Finding] = []
        for recipient in left:
            answer = await self._door.ask(facts, client, recipient, may_move=False)
            findings.extend(self._door.finding(answer, client, recipient))
        waits = [each for each in findings if each.verdict is Verdict.DEFER]
        # one reply for all: the last that waits is what the sender must know
        return [max(waits, key=lambda each: each.inputs["wait_seconds"])] if waits else findings

    async def _learn(self, facts: Facts, domain: str, *, spf: bool, dkim: bool) -> None:
        """Remember a domain that answers for its mail, unless this mail looks like junk already."""
        config = self._tools.config()
        if not domain or not (spf or dkim) or sum(each.score for each in facts.findings) >= config.policy.junk_score:
            return
        now = self._tools.clock.epoch_seconds()
        key = (domain, spf, dkim)
        if now - self._noted.get(key, 0.0) < _NOTED_AGAIN_SECONDS:
            return
        self._noted[key] = now
        self._noted.move_to_end(key)
        if len(self._noted) > _MAX_NOTED:
            self._noted.popitem(last=False)

        def note() -> None:
            self._tools.state.greylist.proved(domain, spf=spf, dkim=dkim)

        await self._tools.offload.run(note)


async def _spf(facts: Facts) -> SpfResult:
    if facts.spf is None:
        return SpfResult(Result.NONE)
    try:
        async with asyncio.timeout(_DNS_SECONDS):
            return await facts.spf()
    except TimeoutError:
        return SpfResult(Result.TEMPERROR)


def _proofs(facts: Facts, sender_domain: str) -> tuple[bool, bool]:
    """Whether SPF passed for the envelope sender, and whether a signature of its domain holds."""
    auth = facts.message.auth if facts.message is not None else None
    if auth is None or not sender_domain:
        return False, False
    spf = (
        auth.spf.result is Result.PASS and auth.spf.identity == "mailfrom" and auth.spf.domain.lower() == sender_domain
    )
    dkim = any(
        each.result is Result.PASS and is_same_owner(each.domain.lower().rstrip("."), sender_domain)
        for each in auth.dkim
    )
    return spf, dkim
