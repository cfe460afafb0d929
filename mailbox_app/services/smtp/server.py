"""The SMTP service of one process: its dependencies, the protocols for its listeners, who is connected, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import structlog

from mailbox_app.accounts.interface import Directory
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.explaining import Decided
from mailbox_app.delivery.inbound import Inbound, RuleRefusal
from mailbox_app.delivery.mail import Filing
from mailbox_app.delivery.recipients import Recipients
from mailbox_app.delivery.rejects import Rejects
from mailbox_app.delivery.submission import Submission
from mailbox_app.errors import MailboxError
from mailbox_app.net.limits import ConnectionCounter
from mailbox_app.net.proxy import TrustedProxies
from mailbox_app.net.tls import ServerTls
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from mailbox_app.policy.door import Door
from mailbox_app.policy.facts import Stage
from mailbox_app.policy.settings import wide_network
from mailbox_app.policy.verdict import Judgement
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp import future_release
from mailbox_app.services.smtp.body import IncomingBody, MemoryBudget
from mailbox_app.services.smtp.limits import SmtpLimits
from mailbox_app.services.smtp.local_peer import KEYWORD
from mailbox_app.services.smtp.receive import Receiver
from mailbox_app.services.smtp.screening import DecisionSink, PolicyRefusal, Screening, SenderCheck
from mailbox_app.services.smtp.session import ServiceKind, SmtpSession
from mailbox_app.services.smtp.verbs import VERBS

_EHLO_REPLIES = 64
_HIDDEN_LMTP = frozenset({b"AUTH", b"EHLO", b"HELO"})
_SILENT = frozenset({"syntax", "sequence", "auth_failed", "auth_cancelled"})
"""Refusals that say nothing about mail: not in the mail log. Logins are logged and counted where they are checked."""


@dataclass(frozen=True)
class SmtpDependencies:
    """All that SMTP sessions use."""

    config: Config
    directory: Directory
    sasl: Sasl
    recipients: Recipients
    inbound: Inbound
    submission: Submission
    sender_checks: SenderCheck | None
    tls: ServerTls
    offload: Offload
    clock: Clock
    metrics: Metrics
    mail_log: MailLog
    tmp_dir: Path
    limits: SmtpLimits = field(default_factory=SmtpLimits)
    door: Door | None = None
    """The policy: who may come in and which mail is wanted; None: everybody and all."""
    sink: DecisionSink | None = None
    """Where decisions are told."""
    rejects: Rejects | None = None
    """Keeps what scores refused; None: nothing does."""


class SmtpService:
    """Everything the sessions of one process share."""

    def __init__(self, dependencies: SmtpDependencies) -> None:
        self._dependencies = dependencies
        self.config = dependencies.config
        self.hostname = dependencies.config.server.hostname
        self.sasl = dependencies.sasl
        self.directory = dependencies.directory
        self.offload = dependencies.offload
        self.recipients = dependencies.recipients
        self.submission = dependencies.submission
        self.tls = dependencies.tls
        self.clock = dependencies.clock
        self.metrics = dependencies.metrics
        self.limits = dependencies.limits
        self.rejects = dependencies.rejects
        self.screening = Screening(
            dependencies.door, dependencies.sender_checks, dependencies.sink, dependencies.clock, dependencies.limits
        )
        self.receiver = Receiver(
            dependencies.inbound,
            dependencies.submission,
            dependencies.sender_checks,
            self.screening,
            dependencies.mail_log,
            dependencies.clock,
            hostname=self.hostname,
            limits=self.limits,
        )
        self.greeting = Reply(220, "", f"{self.hostname} ESMTP")
        self.lmtp_greeting = Reply(220, "", f"{self.hostname} LMTP")
        self.draining = False
        dependencies.tmp_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._tmp_dir = str(dependencies.tmp_dir)
        self._budget = MemoryBudget(self.limits)
        self._sessions: dict[ServiceKind, set[SmtpSession]] = {kind: set() for kind in get_args(ServiceKind)}
        self._in_front = TrustedProxies(self.config.lmtp.trusted_networks)
        self._per_address = {kind: ConnectionCounter(self.limits.connections_per_address) for kind in self._sessions}
        self._per_network = {
            kind: ConnectionCounter(self.limits.connections_per_network, wide_network) for kind in self._sessions
        }
        self._total = {kind: self.metrics.connections.labels(protocol=kind) for kind in self._sessions}
        self._active = {kind: self.metrics.active_connections.labels(protocol=kind) for kind in self._sessions}
        self._all_gone = asyncio.Event()
        self._ehlo: dict[tuple[ServiceKind, bool, str], bytes] = {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop the sessions run on."""
        return asyncio.get_running_loop()

    @property
    def connections(self) -> int:
        """How many sessions are open."""
        return sum(map(len, self._sessions.values()))

    def for_lmtp(self) -> SmtpService:
        """The service for the mail server in front: nobody is checked, delayed or limited a second time."""
        many = 1_000_000
        limits = replace(self.limits, errors=many, connections_per_address=many, connections_per_network=many)
        return SmtpService(replace(self._dependencies, door=None, sender_checks=None, limits=limits))

    def factory(self, kind: ServiceKind) -> Callable[[], asyncio.BaseProtocol]:
        """Makes protocols for `loop.create_server`; `submissions` gets transports with TLS."""
        return lambda: SmtpSession(self, kind)

    def reload(self, config: Config) -> None:
        """Limits of the new configuration hold from the next command on; the hostname stays until a restart."""
        self.config = config
        self._ehlo.clear()

    async def drain(self, seconds: float) -> None:
        """No new sessions; idle ones hear 421 now, those inside a transaction after it or when the time is over."""
        self.draining = True
        goodbye = Reply(421, "4.3.2", "Shutting down, try again later")
        for session in self._all_sessions():
            if session.is_idle:
                session.hang_up(goodbye)
        if self.connections:
            self._all_gone.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), seconds)
        for session in self._all_sessions():
            session.hang_up(goodbye)

    # for sessions

    def enter(self, session: SmtpSession) -> Reply | None:
        """Count a new session, or say why it cannot be."""
        sessions = self._sessions[session.kind]
        if self.draining:
            return Reply(421, "4.3.2", "Shutting down, try again later")
        if session.kind == "lmtp" and session.remote_ip and session.remote_ip not in self._in_front:
            return Reply(554, "5.7.1", "Only the mail server in front may deliver here")
        if len(sessions) >= self.limits.connections:
            return Reply(421, "4.3.2", "Too many connections, try again later")
        if not _is_loopback(session.remote_ip):
            if not self._per_address[session.kind].enter(session.remote_ip):
                return Reply(421, "4.7.0", "Too many connections from your address")
            if not self._per_network[session.kind].enter(session.remote_ip):
                self._per_address[session.kind].leave(session.remote_ip)
                return Reply(421, "4.7.0", "Too many connections from your network")
        sessions.add(session)
        self._total[session.kind].inc()
        self._active[session.kind].inc()
        return None

    def leave(self, session: SmtpSession) -> None:
        """A session that had entered is over."""
        self._sessions[session.kind].discard(session)
        self._active[session.kind].dec()
        if not _is_loopback(session.remote_ip):
            self._per_address[session.kind].leave(session.remote_ip)
            self._per_network[session.kind].leave(session.remote_ip)
        if self.draining and not self.connections:
            self._all_gone.set()

    def new_body(self) -> IncomingBody:
        """Room for one content."""
        return IncomingBody(self._tmp_dir, self._dependencies.offload, self._budget)

    def ehlo_reply(self, session: SmtpSession) -> bytes:
        """The answer to EHLO, made once per service, TLS state and mechanisms that work with it."""
        mechanisms = ""
        if session.tls is not None and session.needs_login:
            mechanisms = " ".join(self.sasl.mechanisms(session.channel, session.kind))
        release = future_release.keyword(session)
        special = f"{mechanisms} {release} {session.local_peer.address if session.local_peer is not None else ''}"
        key = (session.kind, session.tls is not None or not session.remote_ip, special)
        reply = self._ehlo.get(key)
        if reply is None:
            if len(self._ehlo) >= _EHLO_REPLIES:  # one names a date
                self._ehlo.clear()
            limits = self.config.limits
            lines = [
                self.hostname,
                "PIPELINING",  # RFC 2920
                f"SIZE {limits.max_message_bytes}",  # RFC 1870
                "8BITMIME",  # RFC 6152
                "SMTPUTF8",  # RFC 6531
                "ENHANCEDSTATUSCODES",  # RFC 2034
                "CHUNKING",  # RFC 3030
                "DSN",  # RFC 3461
                f"LIMITS RCPTMAX={limits.max_recipients} MAILMAX={self.limits.messages}",  # RFC 9422
            ]
            if session.tls is not None:
                lines.append("REQUIRETLS")  # RFC 8689
            if session.tls is None and (session.remote_ip or session.kind not in ("lmtp", "local")):
                lines.append("STARTTLS")  # RFC 3207
            elif mechanisms:
                lines.append(f"AUTH {mechanisms}")  # RFC 4954
            if release:
                lines.append(release)
            if session.local_peer is not None:
                lines.append(f"{KEYWORD} {session.local_peer.address}")
            lines.append("HELP")
            reply = self._ehlo[key] = Reply(250, "", "\n".join(lines)).encode()
        return reply

    def help_text(self, session: SmtpSession) -> str:
        """The commands there are."""
        hidden = _HIDDEN_LMTP if session.kind == "lmtp" else {b"LHLO"} if session.needs_login else {b"LHLO", b"AUTH"}
        return " ".join(name.decode() for name in VERBS if name not in hidden)

    def note_refusal(self, session: SmtpSession, error: MailboxError, reply: Reply) -> None:
        """A command was refused: one line in the mail log when it is about mail, in the plain log when it is our trouble."""
        if isinstance(error, Refusal):
            reason = error.reason
            if reason in _SILENT:
                return
            at_the_door = isinstance(error, PolicyRefusal) and error.stage is Stage.CONNECT
            if at_the_door and self.screening.is_told_again(session.remote_ip, reason):
                return
            if reason == "over_quota":
                self.metrics.quota_exceeded.inc()
        else:
            reason = error.code
            structlog.get_logger("smtp").warning(
                "local_trouble",
                session_id=session.session_id,
                code=error.code,
                cause=str(error.__cause__ or ""),
                **error.fields,
            )
        transaction = session.transaction
        address = error.address if isinstance(error, Refusal) else ""
        recipients = tuple(recipient.address for recipient in transaction.recipients)
        self._explain(session, error, reply)
        self._dependencies.mail_log.write(
            MailEvent(
                "rejected",
                "submission" if session.needs_login or session.kind == "local" else "in",
                session_id=session.session_id,
                sender=address if transaction.sender is None else transaction.sender,
                recipients=(address,) if address and transaction.sender is not None else recipients,
                remote=session.remote_ip,
                tls=" ".join(session.tls) if session.tls else "",
                code=reply.code,
                text=str(reply),
                reason=reason,
            )
        )

    def _explain(self, session: SmtpSession, error: MailboxError, reply: Reply) -> None:
        transaction, facts = session.transaction, session.facts
        address = error.address if isinstance(error, Refusal) else ""
        facts.sender = address if transaction.sender is None else transaction.sender
        filings: Sequence[Filing] = ()
        if isinstance(error, PolicyRefusal):
            judgement, stage = error.judgement, error.stage
        elif isinstance(error, RuleRefusal):
            judgement, stage, filings = error.judgement, Stage.MESSAGE, error.filings
        else:
            judgement = Judgement(tuple(facts.findings))
            stage = (
                Stage.MESSAGE if facts.message else Stage.RECIPIENT if transaction.sender is not None else Stage.SENDER
            )
        recipient = address if transaction.sender is not None else ""
        account = session.account.address if session.account is not None else ""
        decided = Decided(facts, judgement, reply, filings, stage=stage, recipient=recipient, account=account)
        self.screening.tell(session, decided)

    def _all_sessions(self) -> list[SmtpSession]:
        return [session for sessions in self._sessions.values() for session in sessions]


def _is_loopback(remote_ip: str) -> bool:
    if not remote_ip:
        return True
    if ":" not in remote_ip:
        return remote_ip.startswith("127.")
    address = ipaddress.IPv6Address(remote_ip.partition("%")[0])
    return (address.ipv4_mapped or address).is_loopback
