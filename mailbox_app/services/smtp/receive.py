"""The end of content: trace fields, hop limit, sender checks, delivery, mail log, and the reply.

On port 25 an Authentication-Results field with our own name can only be forged: it is cut out before ours is added
(RFC 8601 5). The checks of one message share one deadline. On submission the client's address stays out of the message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.delivery.header_block import read_header, rest_behind
from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.mail import Body, Delivered, Mail
from mailbox_app.delivery.submission import Submission
from mailbox_app.ids import new_queue_id
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.proto.authres import forged_authres
from mailbox_app.proto.dates import format_date
from mailbox_app.proto.header import Header
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp.limits import SmtpLimits
from mailbox_app.services.smtp.session import SmtpSession

_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_RESULTS = re.compile(rb"^authentication-results[ \t]*:", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,250})", re.IGNORECASE | re.MULTILINE)


class CheckResult(Protocol):
    """What the sender checks found."""

    @property
    def field(self) -> bytes:
        """The Authentication-Results field with its line end."""
        ...

    @property
    def summary(self) -> str:
        """In words for the log: "spf=pass dkim=pass dmarc=none"."""
        ...


class SenderCheck(Protocol):
    """SPF, DKIM and DMARC; `mailauth.SenderChecks`."""

    async def check(
        self,
        *,
        remote_ip: str,
        helo: str,
        sender: str,
        header: Header,
        body: Body,
        timeout_seconds: float,
    ) -> CheckResult:
        """Look at a message; what could not be found out in time is a temperror in the result."""
        ...


@dataclass(frozen=True, slots=True)
class _Message:
    """A received content with what the trace needs."""

    message_id: str
    sender: str
    body: Body
    size_bytes: int
    block: bytes


class Receiver:
    """Finishes messages of both kinds of service."""

    def __init__(
        self,
        inbound: Inbound,
        submission: Submission,
        sender_checks: SenderCheck | None,
        mail_log: MailLog,
        clock: Clock,
        *,
        hostname: str,
        limits: SmtpLimits,
    ) -> None:
        self._inbound = inbound
        self._submission = submission
        self._checks = sender_checks
        self._mail_log = mail_log
        self._clock = clock
        self._hostname = hostname
        self._limits = limits

    async def receive(self, session: SmtpSession, body: Body, size_bytes: int) -> Reply:
        """250 when every accepted recipient is served durably; else an error is raised and nobody may rely on anything."""
        started = self._clock.monotonic_seconds()
        block = read_header(body)
        if len(_RECEIVED.findall(block)) > self._limits.hops:  # RFC 5321 6.3
            raise Refusal(554, "5.4.6", "Too many hops, this is a loop", reason="loop")
        found = _MESSAGE_ID.search(block)
        message_id = found[1].strip().decode("utf-8", "replace") if found else ""
        message = _Message(message_id, session.transaction.sender or "", body, size_bytes, block)
        trace_id = str(new_queue_id())
        checks = ""
        if session.account is not None:
            delivered = await self._submit(session, session.account, message, trace_id)
        else:
            delivered, checks = await self._deliver(session, message, trace_id)
        reply = self._reply(delivered, trace_id, is_submission=session.account is not None)
        self._note(session, message, delivered, reply, trace_id, checks, started)
        return reply

    async def _submit(self, session: SmtpSession, account: Account, message: _Message, trace_id: str) -> Delivered:
        mail = self._mail(session, message, self._received(session, trace_id))
        return await self._submission.submit(account, mail)

    async def _deliver(self, session: SmtpSession, message: _Message, trace_id: str) -> tuple[Delivered, str]:
        prefix, body, checks = self._received(session, trace_id), message.body, ""
        block = message.block
        forged = _RESULTS.search(block) is not None
        if forged or self._checks is not None:
            header = Header.parse(block)
            rest = rest_behind(body, len(block))
            if self._checks is not None:
                result = await self._checks.check(
                    remote_ip=session.remote_ip,
                    helo=session.helo,
                    sender=message.sender,
                    header=header,
                    body=rest,
                    timeout_seconds=self._limits.checks_seconds,
                )
                prefix, checks = result.field + prefix, result.summary
            if forged:
                prefix, body = prefix + cut_own_results(block, header, self._hostname), rest
        mail = self._mail(session, message, prefix, body)
        return await self._inbound.deliver(mail), checks

    def _mail(self, session: SmtpSession, message: _Message, prefix: bytes, body: Body | None = None) -> Mail:
        transaction = session.transaction
        envelope = Envelope(
            message.sender,
            transaction.body,
            transaction.smtputf8,
            transaction.ret,
            transaction.envid,
            message_id=message.message_id,
        )
        size_bytes = (
            len(prefix) + message.size_bytes - (0 if body is None or body is message.body else len(message.block))
        )
        return Mail(envelope, transaction.recipients, prefix, message.body if body is None else body, size_bytes)

    def _received(self, session: SmtpSession, trace_id: str) -> bytes:
        """The Received field. RFC 5321 4.4, RFC 3848, RFC 6531 4.3."""
        transaction = session.transaction
        if session.account is None:
            source = f"from {session.helo} ([{_literal(session.remote_ip)}])"
        else:
            source = "from [authenticated user]"  # the client's address is nobody's business
        protocol = "SMTP" if not session.is_extended else "UTF8SMTP" if transaction.smtputf8 else "ESMTP"
        if session.is_extended:
            protocol += ("S" if session.tls else "") + ("A" if session.account else "")
        tls = f" ({session.tls[0]} {session.tls[1]})" if session.tls else ""
        single = f"\r\n\tfor <{transaction.recipients[0].address}>" if len(transaction.recipients) == 1 else ""
        text = f"Received: {source}\r\n\tby {self._hostname} with {protocol} id {trace_id}{tls}{single};\r\n\t"
        return text.encode() + format_date(self._clock.now()) + b"\r\n"

    @staticmethod
    def _reply(delivered: Delivered, trace_id: str, *, is_submission: bool) -> Reply:
        if not is_submission:
            return Reply(250, "2.0.0", trace_id)
        return Reply(250, "2.0.0", f"Queued as {delivered.queued[0][0] if delivered.queued else trace_id}")

    def _note(
        self,
        session: SmtpSession,
        message: _Message,
        delivered: Delivered,
        reply: Reply,
        trace_id: str,
        checks: str,
        started: float,
    ) -> None:
        direction = "in" if session.account is None else "submission"
        for queue_id, addresses in delivered.queued:
            self._mail_log.write(
                MailEvent(
                    "queued",
                    direction,
                    session_id=session.session_id,
                    queue_id=queue_id,
                    sender=message.sender,
                    recipients=tuple(addresses),
                    message_id=delivered.message_id or message.message_id,
                    size_bytes=message.size_bytes,
                )
            )
        self._mail_log.write(
            MailEvent(
                "accepted",
                direction,
                session_id=session.session_id,
                queue_id=delivered.queued[0][0] if delivered.queued else trace_id,
                sender=message.sender,
                recipients=tuple(recipient.address for recipient in session.transaction.recipients),
                message_id=delivered.message_id or message.message_id,
                size_bytes=message.size_bytes,
                remote=session.remote_ip,
                tls=" ".join(session.tls) if session.tls else "",
                code=reply.code,
                text=str(reply),
                checks=checks,
                duration_seconds=round(self._clock.monotonic_seconds() - started, 4),
            )
        )


def cut_own_results(block: bytes, header: Header, hostname: str) -> bytes:
    """The block without Authentication-Results fields that claim to be ours; all other bytes untouched."""
    kept, position = [], 0
    for field in forged_authres(header, hostname):
        kept.append(block[position : field.start])
        position = field.end
    return b"".join(kept) + block[position:]


def _literal(remote_ip: str) -> str:
    """An address as RFC 5321 4.1.3 writes it."""
    return f"IPv6:{remote_ip.partition('%')[0]}" if ":" in remote_ip else remote_ip
