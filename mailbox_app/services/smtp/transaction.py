"""MAIL and RCPT, and what a mail transaction gathers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from mailbox_app.delivery.mail import Recipient
from mailbox_app.proto.smtp.commands import parse_mail, parse_rcpt
from mailbox_app.proto.smtp.dot_stream import LineEndings
from mailbox_app.proto.smtp.replies import Refusal, Reply
from mailbox_app.services.smtp import future_release, local_peer
from mailbox_app.services.smtp.body import IncomingBody

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession


class Transaction:
    """From MAIL to the end of the content."""

    __slots__ = (
        "accepted",
        "addresses",
        "body",
        "chunks",
        "chunks_failed",
        "due_at",
        "endings",
        "envid",
        "in_content",
        "is_over",
        "is_told",
        "rcpt_count",
        "recipients",
        "release_request",
        "replies",
        "require_tls",
        "ret",
        "sender",
        "size_bytes",
        "smtputf8",
    )

    def __init__(self) -> None:
        self.sender: str | None = None
        """None before MAIL; "" is the null sender."""
        self.body = "7BIT"
        self.smtputf8 = False
        self.ret = ""
        self.envid = ""
        self.require_tls = False
        self.due_at: datetime | None = None
        """When the sender wants it to go; None: at once."""
        self.release_request = ""
        """The same as it was said."""
        self.size_bytes = 0
        """As declared; 0: not."""
        self.recipients: list[Recipient] = []
        self.addresses: set[str] = set()
        self.accepted: list[str] = []
        """Every address that was answered 250, also twice."""
        self.is_told = False
        """That there are too many recipients."""
        self.rcpt_count = 0
        """Also of those that were refused."""
        self.chunks: IncomingBody | None = None
        """Content by BDAT so far."""
        self.chunks_failed: Refusal | None = None
        self.endings = LineEndings()
        self.in_content = False
        """The stream is inside content: an error now leaves it out of step."""
        self.replies: Mapping[str, Reply] = {}
        """LMTP: recipients who were not served, when others were."""
        self.is_over = False
        """Refused at its end: forgotten as soon as the log has told whose mail it was."""

    def close(self) -> None:
        """Free what the content holds."""
        if self.chunks is not None:
            self.chunks.close()
            self.chunks = None


async def mail(session: SmtpSession, argument: bytes) -> Reply:
    """MAIL. On submission only after AUTH, which there is only under TLS. RFC 6409 4.3"""
    service = session.service
    if session.needs_login:
        if session.tls is None:
            raise Refusal(530, "5.7.0", "Say STARTTLS first", reason="auth_required")  # RFC 3207 4
        if session.account is None:
            raise Refusal(530, "5.7.0", "Log in first", reason="auth_required")
    if session.transaction.sender is not None:
        raise Refusal(503, "5.5.1", "There is a sender already", reason="sequence")
    if session.message_count >= service.limits.messages:
        return Reply(421, "4.7.0", "Too many messages in one session, connect again")
    command = parse_mail(argument)
    if command.size_bytes > service.config.limits.max_message_bytes:  # RFC 1870 6.1
        raise Refusal(552, "5.3.4", "The message is too large", reason="too_large", address=command.sender)
    if command.require_tls and session.tls is None:  # RFC 8689 2
        raise Refusal(530, "5.7.10", "REQUIRETLS needs an encrypted session", reason="syntax", address=command.sender)
    if session.kind == "local":
        session.account = local_peer.account_for(session, command.sender)
    due_at = future_release.due_at(session, command)
    if session.account is not None:
        service.submission.check_sender(session.account, command.sender)
    await service.screening.sender(session, command.sender)
    transaction = session.transaction
    transaction.sender = command.sender
    transaction.body = command.body
    transaction.smtputf8 = command.smtputf8
    transaction.ret = command.ret
    transaction.envid = command.envid
    transaction.require_tls = command.require_tls
    transaction.due_at = due_at
    transaction.release_request = command.release_request
    transaction.size_bytes = command.size_bytes
    return Reply(250, "2.1.0", "Sender OK")


async def rcpt(session: SmtpSession, argument: bytes) -> Reply:
    """RCPT. Only a logged-in user may name recipients elsewhere."""
    service, transaction = session.service, session.transaction
    if transaction.sender is None:
        raise Refusal(503, "5.5.1", "Say MAIL first", reason="sequence")
    if transaction.chunks is not None:
        raise Refusal(503, "5.5.1", "The message has begun", reason="sequence")
    transaction.rcpt_count += 1
    if transaction.rcpt_count > service.limits.recipients_asked * service.config.limits.max_recipients:
        return Reply(421, "4.7.0", "Too many recipients")
    # counted as often as they are named: each is remembered for LMTP's answers. RFC 5321 4.5.3.1.10
    if len(transaction.accepted) >= service.config.limits.max_recipients:
        # told once a message: its line in the log names all recipients
        reason, transaction.is_told = "sequence" if transaction.is_told else "too_many_recipients", True
        raise Refusal(452, "4.5.3", "Too many recipients", reason=reason)
    command = parse_rcpt(argument, smtputf8=transaction.smtputf8)
    if command.address.lower() not in transaction.addresses:
        try:
            recipient = await service.recipients.accept(
                command,
                may_relay=session.account is not None,
                size_bytes=transaction.size_bytes,
                sender=transaction.sender,
                account=session.account,
                before=transaction.recipients,
            )
        except Refusal as refusal:
            if refusal.reason == "no_such_user":
                await service.screening.unknown_recipient(session, command.address)
            raise
        await service.screening.recipient(session, recipient)
        transaction.recipients.append(recipient)
        transaction.addresses.add(command.address.lower())
    transaction.accepted.append(command.address)
    return Reply(250, "2.1.5", "Recipient OK")


async def rset(session: SmtpSession, argument: bytes) -> Reply:
    """RSET."""
    if argument:
        raise Refusal(501, "5.5.4", "RSET takes no argument", reason="syntax")
    session.forget_transaction()
    return Reply(250, "2.0.0", "Forgotten")
