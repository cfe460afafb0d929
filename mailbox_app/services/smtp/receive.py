"""The end of content: trace fields, hop limit, sender checks, policy, delivery, mail log, and the reply.

On port 25 an Authentication-Results field with our own name, or a verdict field, can only be forged: it is cut out before ours
is added (RFC 8601 5). Sender checks and policy share one deadline. On submission the client's address stays out of the message.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.delivery.explaining import Decided
from mailbox_app.delivery.header_block import read_header, rest_behind
from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.mail import Body, Delivered, Mail
from mailbox_app.delivery.posting import proven_author
from mailbox_app.delivery.submission import Submission
from mailbox_app.ids import new_queue_id
from mailbox_app.mailauth.results import AuthResults
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.policy import verdict_field
from mailbox_app.policy.facts import MessageFacts
from mailbox_app.policy.verdict import Judgement
from mailbox_app.proto.authres import forged_authres
from mailbox_app.proto.dates import format_date
from mailbox_app.proto.header import Field, Header
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp.limits import SmtpLimits
from mailbox_app.services.smtp.lmtp import believed_author
from mailbox_app.services.smtp.screening import PolicyRefusal, Screening, SenderCheck
from mailbox_app.services.smtp.session import SmtpSession

_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)
_TLS_OPTIONAL = re.compile(rb"(?:\A|\n)tls-required[ \t]*:[ \t]*no[ \t]*(?:\r?\n(?![ \t])|\Z)", re.IGNORECASE)
"""RFC 8689 5: rather delivered in clear than not at all."""
_OURS = re.compile(rb"^(?:authentication-results|x-mailbox-verdict)[ \t]*:", re.IGNORECASE | re.MULTILINE)
_NO_JUDGEMENT = Judgement()
_LARGE_HEADER_BYTES = 32_768
_MESSAGE_ID = re.compile(rb"^message-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,250})", re.IGNORECASE | re.MULTILINE)


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
        screening: Screening,
        mail_log: MailLog,
        clock: Clock,
        *,
        hostname: str,
        limits: SmtpLimits,
    ) -> None:
        self._inbound = inbound
        self._submission = submission
        self._checks = sender_checks
        self._screening = screening
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
        judgement = Judgement()
        if session.account is not None:
            header = Header.parse(block)
            session.facts.message = MessageFacts(
                block, header, rest_behind(body, len(block)), size_bytes, message_id, None
            )
            delivered = await self._submit(session, session.account, message, trace_id)
        else:
            await self._look_at(session, message)
            try:
                judgement = await self._screening.message(session, self._remaining(started))
            except PolicyRefusal as refusal:
                await self._keep_refused(session, message, refusal.judgement, trace_id)
                raise
            delivered = await self._deliver(session, message, judgement, trace_id)
            self._screening.accepted(session)
        reply = self._reply(delivered, trace_id, is_submission=session.account is not None)
        self._note(session, message, delivered, reply, trace_id, started)
        self._screening.tell(
            session,
            Decided(
                session.facts,
                judgement,
                reply,
                delivered.filings,
                trace_id,
                queue_ids=[str(queue_id) for queue_id, _ in delivered.queued],
                duration_seconds=self._clock.monotonic_seconds() - started,
                account=session.account.address if session.account is not None else "",
                message_id=delivered.message_id,
            ),
        )
        return reply

    def _remaining(self, started: float) -> float:
        """What the sender checks left of the time for both."""
        whole, alone = self._limits.checks_seconds, self._limits.lookup_seconds
        return max(whole - alone, whole - (self._clock.monotonic_seconds() - started))

    async def _submit(self, session: SmtpSession, account: Account, message: _Message, trace_id: str) -> Delivered:
        mail = self._mail(session, message, self._received(session, trace_id), trace_id)
        is_person, peer = session.kind != "local", session.local_peer
        is_bound = (
            peer is not None and not peer.is_master
        )  # a web server that was broken into is no better than a password
        facts = session.facts.message
        read = (message.block, facts.header) if facts is not None else None
        return await self._submission.submit(
            account, mail, session.remote_ip, keep_copy=is_person, is_bound=is_bound, read=read
        )

    async def _look_at(self, session: SmtpSession, message: _Message) -> None:
        """Who sent it, and the facts for the policy; the header is parsed here once for all."""
        block = message.block
        # an honest header takes less time than the way to a thread; one of 60,000 fields must not hold up everybody else
        large = len(block) > _LARGE_HEADER_BYTES
        header = await self._inbound.parse_header(block) if large else Header.parse(block)
        auth, rest = None, rest_behind(message.body, len(block))
        if self._checks is not None and session.serves_strangers:
            auth = await self._checks.check(
                remote_ip=session.remote_ip,
                helo=session.helo,
                sender=message.sender,
                header=header,
                body=rest,
                timeout_seconds=self._limits.lookup_seconds,
                spf=session.spf.answer if session.spf is not None else None,
                iprev=session.iprev.answer if session.iprev is not None else None,
            )
        # a view of its own: a check that is late may still read when delivery does
        body = rest if isinstance(rest, bytes) else rest_behind(message.body, len(block))
        session.facts.message = MessageFacts(block, header, body, message.size_bytes, message.message_id, auth)

    async def _keep_refused(self, session: SmtpSession, message: _Message, judgement: Judgement, trace_id: str) -> None:
        """What the sum of scores refused can be recovered by its recipients for some days; the sender hears 550 all the same."""
        rejects = session.service.rejects
        if rejects is not None and rejects.wants(judgement):
            await rejects.keep(self._inbound_mail(session, message, judgement, trace_id))

    async def _deliver(self, session: SmtpSession, message: _Message, judgement: Judgement, trace_id: str) -> Delivered:
        mail = self._inbound_mail(session, message, judgement, trace_id)
        delivered = await self._inbound.deliver(mail, each_answers=session.kind == "lmtp")
        session.transaction.replies = delivered.replies
        return delivered

    def _inbound_mail(self, session: SmtpSession, message: _Message, judgement: Judgement, trace_id: str) -> Mail:
        """The message below its trace fields."""
        prefix, body, facts = self._received(session, trace_id), message.body, session.facts.message
        assert facts is not None
        if self._screening.is_on and session.serves_strangers:
            prefix = self._verdict_field(session, judgement) + prefix
        if facts.auth is not None:
            prefix = facts.auth.field + prefix
        is_lmtp, believed = session.kind == "lmtp", session.service.config.lmtp.authserv_id
        if _OURS.search(message.block) is not None:
            is_ours = not is_lmtp or believed.lower() != self._hostname.lower()
            prefix += cut_own_fields(message.block, facts.header, self._hostname if is_ours else "")
            body = rest_behind(body, len(message.block))
        author = believed_author(facts.header, believed) if is_lmtp else proven_author(facts.header, facts.auth)
        return self._mail(session, message, prefix, trace_id, body, judgement, author=author, auth=facts.auth)

    @staticmethod
    def _verdict_field(session: SmtpSession, judgement: Judgement) -> bytes:
        accounts = {account.account_id for each in session.facts.recipients for account in each.accounts}
        # what holds for one person is nobody else's business
        return verdict_field.compose_verdict(judgement, accounts.pop() if len(accounts) == 1 else None)

    def _mail(
        self,
        session: SmtpSession,
        message: _Message,
        prefix: bytes,
        trace_id: str,
        body: Body | None = None,
        judgement: Judgement = _NO_JUDGEMENT,
        *,
        author: str = "",
        auth: AuthResults | None = None,
    ) -> Mail:
        transaction = session.transaction
        envelope = Envelope(
            message.sender,
            transaction.body,
            transaction.smtputf8,
            transaction.ret,
            transaction.envid,
            message_id=message.message_id,
            require_tls=transaction.require_tls,
            release_request=transaction.release_request,
            tls_optional=not transaction.require_tls and _TLS_OPTIONAL.search(message.block) is not None,
        )
        size_bytes = (
            len(prefix) + message.size_bytes - (0 if body is None or body is message.body else len(message.block))
        )
        content = message.body if body is None else body
        return Mail(
            envelope,
            transaction.recipients,
            prefix,
            content,
            size_bytes,
            judgement,
            author,
            auth,
            remote_ip=session.remote_ip if session.account is None else "",
            remote_name=_client_name(auth) or session.helo if session.account is None else "",
            trace_id=trace_id,
            due_at=transaction.due_at,
        )

    def _received(self, session: SmtpSession, trace_id: str) -> bytes:
        """The Received field. RFC 5321 4.4, RFC 3848, RFC 6531 4.3."""
        transaction = session.transaction
        if session.account is None:
            source = (
                f"from {session.helo} ([{_literal(session.remote_ip)}])"
                if session.remote_ip
                else f"from {session.helo}"
            )
        else:
            source = "from [authenticated user]"  # the client's address is nobody's business
        protocol = "SMTP" if not session.is_extended else "UTF8SMTP" if transaction.smtputf8 else "ESMTP"
        if session.kind == "lmtp":
            protocol = "UTF8LMTP" if transaction.smtputf8 else "LMTP"
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
        held = (
            f", held: {delivered.hold_reason.removeprefix('brake: ')}"
            if delivered.hold_reason and delivered.queued
            else ""
        )
        return Reply(250, "2.0.0", f"Queued as {delivered.queued[0][0] if delivered.queued else trace_id}{held}")

    def _note(
        self,
        session: SmtpSession,
        message: _Message,
        delivered: Delivered,
        reply: Reply,
        trace_id: str,
        started: float,
    ) -> None:
        facts = session.facts.message
        checks = facts.auth.summary if facts is not None and facts.auth is not None else ""
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
                recipients=tuple(
                    recipient.address
                    for recipient in session.transaction.recipients
                    if recipient.address not in delivered.replies
                ),
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
        self._note_refused(session, message, delivered, direction)

    def _note_refused(self, session: SmtpSession, message: _Message, delivered: Delivered, direction: str) -> None:
        """Recipients with an answer of their own."""
        for address, refusal in delivered.replies.items():
            self._mail_log.write(
                MailEvent(
                    "rejected",
                    direction,
                    session_id=session.session_id,
                    sender=message.sender,
                    recipients=(address,),
                    message_id=message.message_id,
                    remote=session.remote_ip,
                    code=refusal.code,
                    text=str(refusal),
                    reason="recipient",
                )
            )


def cut_own_fields(block: bytes, header: Header, hostname: str) -> bytes:
    """The block without results and verdicts that claim to be ours; all other bytes untouched."""
    verdicts = (field for field in header.fields if field.key == verdict_field.KEY)
    forged: Sequence[Field] = sorted((*forged_authres(header, hostname), *verdicts), key=lambda field: field.start)
    kept, position = [], 0
    for field in forged:
        kept.append(block[position : field.start])
        position = field.end
    return b"".join(kept) + block[position:]


def _client_name(auth: AuthResults | None) -> str:
    """The client's name as its address confirms it; "" when there is none, or nobody looked."""
    return auth.iprev.name if auth is not None and auth.iprev is not None else ""


def _literal(remote_ip: str) -> str:
    """An address as RFC 5321 4.1.3 writes it."""
    return f"IPv6:{remote_ip.partition('%')[0]}" if ":" in remote_ip else remote_ip
