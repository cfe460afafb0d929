"""The policy's part in a session: facts grow here, a stage's judgement becomes a refusal or goes on with the message.

Sessions of port 25 pass all stages. Those of our users pass none (their limits: `delivery.containment`); nor do those of a mail
server in front, which is believed. What the earlier stages found is carried to the message's judgement; every decision is told to
the sink.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO, Protocol

import structlog

from mailbox_app.clock import Clock
from mailbox_app.delivery.explaining import Decided
from mailbox_app.delivery.mail import Recipient
from mailbox_app.mailauth.results import AuthResults, IprevResult, SpfResult
from mailbox_app.policy.checks.bans import ban_finding
from mailbox_app.policy.door import Door
from mailbox_app.policy.facts import RecipientFacts, Stage
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp.limits import SmtpLimits
from mailbox_app.services.smtp.lookups import Lookup

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession


_FREE_ERRORS = 2
"""A typing mistake or a dead address costs nobody a wait."""
_TOLD_SECONDS = 60.0
_MAX_TOLD = 10_000


class SenderCheck(Protocol):
    """Who sent a message; `mailauth.SenderChecks`. Nothing of it raises: what is not found in time is a temperror."""

    async def spf(self, *, remote_ip: str, helo: str, sender: str, timeout_seconds: float) -> SpfResult:
        """SPF alone."""
        ...

    async def iprev(self, remote_ip: str, *, timeout_seconds: float) -> IprevResult:
        """The client's confirmed name."""
        ...

    async def check(
        self,
        *,
        remote_ip: str,
        helo: str,
        sender: str,
        header: Header,
        body: bytes | BinaryIO,
        timeout_seconds: float,
        spf: SpfResult | None = None,
        iprev: IprevResult | None = None,
    ) -> AuthResults:
        """Everything about a message, with what is known already."""
        ...


class DecisionSink(Protocol):
    """Where every decision is told, with what it was made from; `delivery.explaining.Explainer`."""

    def note(self, decided: Decided) -> None:
        """One decision; quick."""
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
    """One per service. Without a door everybody passes."""

    def __init__(
        self,
        door: Door | None,
        sender_checks: SenderCheck | None,
        sink: DecisionSink | None,
        clock: Clock,
        limits: SmtpLimits,
    ) -> None:
        self._door = door
        self._checks = sender_checks
        self._sink = sink
        self._clock = clock
        self._limits = limits
        self._slowed = 0
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._log = structlog.get_logger("policy")

    @property
    def is_on(self) -> bool:
        """Whether messages are judged."""
        return self._door is not None

    async def connect(self, session: SmtpSession) -> None:
        """Before the greeting; raises `PolicyRefusal`."""
        door = self._door
        if door is None or door.gate.is_exempt(session.remote_ip):
            return
        ban = door.gate.ban_of(session.remote_ip)
        if not session.serves_strangers:
            if ban is not None:
                finding = ban_finding(ban)
                raise PolicyRefusal(Judgement([finding]), finding.verdict, Stage.CONNECT)
            return
        facts = session.facts
        delay = door.tools.config().abuse.greeting_delay_ms / 1000
        if ban is None and delay and not door.offences.is_known(session.remote_ip):
            facts.talked_early = await session.hears_within(delay)
        judgement = await door.pipeline.connect(facts)
        _refuse(judgement, Stage.CONNECT)
        session.connect_findings = tuple(judgement.findings)
        facts.findings.extend(judgement.findings)

    async def sender(self, session: SmtpSession, sender: str) -> None:
        """At MAIL; raises `PolicyRefusal`."""
        facts, door = session.facts, self._door
        facts.sender = sender
        facts.helo = session.helo
        facts.tls = " ".join(session.tls) if session.tls else ""
        if door is None or not session.serves_strangers:
            return
        facts.findings = list(session.connect_findings)
        self._look_up(session, sender)
        judgement = await door.pipeline.sender(facts)
        _refuse(judgement, Stage.SENDER, sender)
        facts.findings.extend(judgement.findings)

    def _look_up(self, session: SmtpSession, sender: str) -> None:
        """SPF begins now, the client's name when somebody wants it."""
        checks, door, facts = self._checks, self._door, session.facts
        if checks is None or door is None:
            return
        seconds, remote_ip, helo = self._limits.lookup_seconds, session.remote_ip, session.helo
        session.end_lookups()
        session.spf = Lookup(lambda: checks.spf(remote_ip=remote_ip, helo=helo, sender=sender, timeout_seconds=seconds))
        facts.spf = session.spf
        if not door.gate.settings.trusts(remote_ip):
            session.spf.start()
        if session.iprev is None:
            session.iprev = name = Lookup(lambda: checks.iprev(remote_ip, timeout_seconds=seconds))

            async def remote_name() -> str:
                return (await name()).name

            facts.iprev = name
            facts.remote_name = remote_name

    async def recipient(self, session: SmtpSession, recipient: Recipient) -> None:
        """At RCPT, for one that delivery accepts; raises `PolicyRefusal`, which is about this recipient alone."""
        facts = session.facts
        canonical = recipient.canonical or recipient.address.lower()
        facts.recipients.append(RecipientFacts(recipient.address, canonical, recipient.accounts, recipient.outside))
        door = self._door
        if door is None:
            return
        if not session.serves_strangers:
            return
        try:
            judgement = await door.pipeline.recipient(facts)
            _refuse(judgement, Stage.RECIPIENT, recipient.address)
        except BaseException:
            facts.recipients.pop()
            raise
        facts.findings.extend(judgement.findings)
        if not door.gate.is_exempt(session.remote_ip):
            door.offences.recipient_accepted(session.remote_ip)

    async def unknown_recipient(self, session: SmtpSession, address: str) -> None:
        """A recipient that is not here; raises `PolicyRefusal` when the client was banned for one too many."""
        door = self._door
        if door is None or not session.serves_strangers or door.gate.is_exempt(session.remote_ip):
            return
        if await door.offences.recipient_unknown(session.remote_ip) and (ban := door.gate.ban_of(session.remote_ip)):
            finding = ban_finding(ban)
            raise PolicyRefusal(Judgement([finding]), finding.verdict, Stage.RECIPIENT, address=address)

    async def message(self, session: SmtpSession, seconds: float) -> Judgement:
        """At the end of content, when `facts.message` is there; raises `PolicyRefusal` when nobody may have it."""
        facts = session.facts
        if self._door is None or not session.serves_strangers:
            return Judgement()
        judgement = await self._door.pipeline.message(facts, seconds)
        verdicts = [judgement.verdict(account.account_id) for each in facts.recipients for account in each.accounts]
        if not verdicts or any(each.outside for each in facts.recipients):
            verdicts.append(judgement.verdict())
        # One reply for all: only when nobody wants it is it refused, else it lies in the Junk mailbox of those who do not.
        if (verdict := min(verdicts)) >= Verdict.DEFER:
            raise PolicyRefusal(judgement, verdict, Stage.MESSAGE)
        return judgement

    def accepted(self, session: SmtpSession) -> None:
        """A message from outside was taken: its client is greeted at once from now on."""
        if self._door is not None and session.serves_strangers and not self._door.gate.is_exempt(session.remote_ip):
            self._door.offences.message_accepted(session.remote_ip)

    async def slow_down(self, session: SmtpSession) -> None:
        """Let a client wait for its answer that makes one error after the other. Only so many wait at once."""
        door = self._door
        over = session.error_count - _FREE_ERRORS
        if door is None or over <= 0 or self._slowed >= self._limits.slowed_connections:
            return
        longest = door.tools.config().abuse.slow_down_seconds
        if not longest or door.gate.is_exempt(session.remote_ip):
            return
        self._slowed += 1
        try:
            await session.flush()
            await self._clock.sleep(min(longest, 2.0 ** min(over - 2, 10)))
        finally:
            self._slowed -= 1

    def is_told_again(self, remote_ip: str, reason: str) -> bool:
        """Whether the same was said of this client within a minute: a flood of refusals must not become one of records."""
        now = self._clock.monotonic_seconds()
        key = remote_ip, reason
        until = self._told.get(key)
        if until is not None and until > now:
            return True
        self._told[key] = now + _TOLD_SECONDS
        self._told.move_to_end(key)
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)
        return False

    def tell(self, session: SmtpSession, decided: Decided) -> None:
        """Hand a decision to the sink; its trouble is never the message's."""
        if self._sink is None:
            return
        try:
            self._sink.note(decided)
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
