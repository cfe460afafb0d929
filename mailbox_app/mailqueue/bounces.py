"""Reports to senders about their mail (RFC 3461, RFC 3464): failed, delayed, passed on to where nobody reports, delivered.

All that one attempt has to tell is told in one report. Nothing is ever reported about a report: the null sender gets none, and a
report itself leaves from the null sender. The caller sends the report before it lets the recipients leave the queue,
so a crash in between may repeat a report and never loses one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailbox_app.clock import Clock
from mailbox_app.ids import QueueId, new_queue_id
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import (
    Envelope,
    Fate,
    Lease,
    NewRecipient,
    Outcome,
    Priority,
    QueuedRecipient,
)
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.proto.dsn import DsnRecipient, DsnReport, compose_dsn
from mailbox_app.proto.smtp.commands import decode_xtext
from mailbox_app.proto.smtp.orcpt import readable_orcpt

_WHOLE_MESSAGE_BYTES = 1_048_576
"""RET=FULL is honoured up to here; the header of a larger message says as much."""
_FAILURES = (Fate.FAILED, Fate.LOOP)


@dataclass(frozen=True, slots=True)
class Reported:
    """The message that a report is about."""

    envelope: Envelope
    queue_id: str
    arrived_at: datetime
    header: bytes
    whole: bytes | None = None
    """To be returned whole (RET=FULL); None: the header is."""


class Bounces:
    """Composes reports and puts them into the queue; `sign` adds signatures. Synchronous: call through `db.offload`."""

    def __init__(
        self,
        backend: QueueBackend,
        spool: Spool,
        directory_is_local: Callable[[str], bool],
        hostname: str,
        clock: Clock,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._backend = backend
        self._spool = spool
        self._is_local = directory_is_local
        self._hostname = hostname
        self._clock = clock
        self._sign = sign

    @staticmethod
    def concern(lease: Lease, outcomes: Sequence[Outcome]) -> bool:
        """Whether the outcomes may be news for the sender; asked for every attempt, so it costs next to nothing."""
        if not lease.message.envelope.sender:
            return False
        return any(outcome.fate in _FAILURES for outcome in outcomes) or (
            any(outcome.relayed for outcome in outcomes)
            and any("SUCCESS" in recipient.notify for recipient in lease.message.recipients)
        )

    def report(self, lease: Lease, outcomes: Sequence[Outcome], *, tried: bool = True) -> QueueId | None:
        """Tell the sender what it wants to know of these outcomes; durable on return. None when there is nothing to tell.

        `tried`: they come from an attempt made just now, not from an operator.
        """
        attempted_at = self._clock.now() if tried else None
        leased = {recipient.address: recipient for recipient in lease.message.recipients}
        told = [
            described
            for outcome in outcomes
            if outcome.address in leased
            and (described := _described(leased[outcome.address], outcome, lease.message.queue_id, attempted_at))
            is not None
        ]
        return self._report(lease, told)

    def report_delay(self, leases: Sequence[Lease]) -> QueueId | None:
        """Tell the sender which recipients of a message, leased for this, are late; durable on return."""
        late = [
            _late(recipient, lease)
            for lease in leases
            for recipient in lease.message.recipients
            if wants(recipient.notify, "DELAY")
        ]
        return self._report(leases[0], late)

    def send(self, about: Reported, recipients: Sequence[DsnRecipient]) -> QueueId:
        """One report about these recipients, into the queue; durable on return. The message must have a sender."""
        now, envelope = self._clock.now(), about.envelope
        message_id = f"<{new_queue_id()}.bounce@{self._hostname}>"
        content = compose_dsn(
            DsnReport(
                reporting_mta=self._hostname,
                sender=envelope.sender,
                arrived_at=about.arrived_at,
                envid=decode_xtext(envelope.envid),
                queue_id=about.queue_id,
                recipients=recipients,
                original_header=about.header,
                original_message=about.whole,
                message_id=message_id,
                now=now,
                from_address=f"mailer-daemon@{self._hostname}",
                original_message_id=envelope.message_id.strip(),
                release_request=envelope.release_request,
                smtputf8=envelope.smtputf8,
            )
        )
        if self._sign is not None:
            content = self._sign(content)
        domain = envelope.sender.rpartition("@")[2].lower()
        report = Envelope(
            "",
            "7BIT" if content.isascii() else "8BITMIME",
            envelope.smtputf8,
            message_id=message_id,
            require_tls=envelope.require_tls,
            priority=Priority.REPORT,
        )
        recipient = NewRecipient(envelope.sender, "local" if self._is_local(domain) else "smtp", "NEVER")
        return self._backend.enqueue(report, [recipient], self._spool.write(b"", content), now)

    def _report(self, lease: Lease, recipients: Sequence[DsnRecipient]) -> QueueId | None:
        message = lease.message
        if not recipients or not message.envelope.sender:
            return None
        # RFC 3461 4.3: RET is about failures; all other reports bring the header
        has_failed = any(recipient.action == "failed" for recipient in recipients)
        whole = self._whole_message(lease) if has_failed else None
        about = Reported(message.envelope, message.queue_id, message.arrived_at, self._header(lease), whole)
        return self.send(about, recipients)

    def _header(self, lease: Lease) -> bytes:
        try:
            with open(lease.spool_path, "rb") as file:
                block = file.read(65_536)
        except OSError:
            return b""  # the report matters more than the quotation
        end = block.find(b"\r\n\r\n")
        return block[: end + 4] if end >= 0 else block[: block.rfind(b"\r\n") + 2]

    def _whole_message(self, lease: Lease) -> bytes | None:
        envelope = lease.message.envelope  # RFC 8689 5: what must stay encrypted goes back as header only
        if envelope.ret != "FULL" or envelope.require_tls or lease.message.size_bytes > _WHOLE_MESSAGE_BYTES:
            return None
        try:
            with open(lease.spool_path, "rb") as file:
                return file.read()
        except OSError:
            return None


def wants(notify: str, what: str) -> bool:
    """Whether a sender wants to hear of this. RFC 3461 4.1: without NOTIFY of failures, and as we see it of delays."""
    return what in notify.split(",") if notify else what != "SUCCESS"


def without_success(notify: str) -> str:
    """The rest of NOTIFY once success has been told; what remains of SUCCESS alone is silence."""
    words = [word for word in notify.split(",") if word != "SUCCESS"]
    return ",".join(words) if words else "NEVER"


def _described(
    recipient: QueuedRecipient, outcome: Outcome, queue_id: QueueId, attempted_at: datetime | None
) -> DsnRecipient | None:
    """What there is to tell about an outcome; None: nothing, or nobody wants to know."""
    if outcome.fate in _FAILURES:
        if not wants(recipient.notify, "FAILURE"):
            return None
    # RFC 3461 5.2.2: what goes to a host with DSN is reported from there on by that host
    elif outcome.fate is not Fate.DELIVERED or not outcome.relayed or not wants(recipient.notify, "SUCCESS"):
        return None
    return DsnRecipient(
        address=recipient.address,
        orcpt=readable_orcpt(recipient.orcpt),
        action="failed" if outcome.fate in _FAILURES else "relayed",
        status=outcome.enhanced,
        remote_mta=outcome.host.partition(" ")[0],
        diagnostic=outcome.said or f"{outcome.code} {outcome.text}",
        explanation=outcome.text if outcome.said else "",
        final_log_id=queue_id,
        attempted_at=attempted_at,
    )


def _late(recipient: QueuedRecipient, lease: Lease) -> DsnRecipient:
    status = recipient.last_enhanced if recipient.last_enhanced.startswith("4.") else "4.4.7"
    text = recipient.hold_reason or recipient.last_text  # why it was not tried, when nobody has answered yet
    if recipient.last_code:
        text = f"{recipient.last_code} {recipient.last_text}"
    return DsnRecipient(
        address=recipient.address,
        orcpt=readable_orcpt(recipient.orcpt),
        action="delayed",
        status=status,
        remote_mta=recipient.last_host.partition(" ")[0],
        diagnostic=text,
        final_log_id=lease.message.queue_id,
        will_retry_until=lease.message.expires_at,
    )
