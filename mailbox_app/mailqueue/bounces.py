"""Reports to senders about mail that will not arrive (RFC 3461, RFC 3464).

All recipients that failed in one attempt are told in one report. Nothing is ever reported about a report: the null
sender gets none, and a report itself leaves from the null sender. The caller sends the report before it lets the failed
recipients leave the queue, so a crash in between may repeat a report and never loses one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailbox_app.clock import Clock
from mailbox_app.ids import QueueId, new_queue_id
from mailbox_app.mailqueue.interface import QueueBackend
from mailbox_app.mailqueue.model import Envelope, Fate, Lease, NewRecipient, Outcome, QueuedRecipient
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.proto.dsn import DsnRecipient, DsnReport, compose_dsn
from mailbox_app.proto.smtp.commands import decode_xtext

_WHOLE_MESSAGE_BYTES = 1_048_576
"""RET=FULL is honoured up to here; the header of a larger message says as much."""


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

    def report(self, lease: Lease, outcomes: Sequence[Outcome]) -> QueueId | None:
        """Tell the sender about the failed recipients; durable on return. None when there is nobody to tell."""
        message = lease.message
        leased = {recipient.address: recipient for recipient in message.recipients}
        failed = [
            _described(leased[outcome.address], outcome)
            for outcome in outcomes
            if outcome.fate in (Fate.FAILED, Fate.LOOP)
            and outcome.address in leased
            and _wants_failures(leased[outcome.address].notify)
        ]
        if not failed or not message.envelope.sender:
            return None
        now = self._clock.now()
        message_id = f"<{new_queue_id()}.bounce@{self._hostname}>"
        content = compose_dsn(
            DsnReport(
                reporting_mta=self._hostname,
                sender=message.envelope.sender,
                arrived_at=message.arrived_at,
                envid=decode_xtext(message.envelope.envid),
                queue_id=message.queue_id,
                recipients=failed,
                original_header=self._header(lease),
                original_message=self._whole_message(lease),
                message_id=message_id,
                now=now,
                from_address=f"mailer-daemon@{self._hostname}",
            )
        )
        if self._sign is not None:
            content = self._sign(content)
        domain = message.envelope.sender.rpartition("@")[2].lower()
        envelope = Envelope(
            "",
            "7BIT" if content.isascii() else "8BITMIME",
            message.envelope.smtputf8,
            message_id=message_id,
            require_tls=message.envelope.require_tls,
        )
        recipient = NewRecipient(message.envelope.sender, "local" if self._is_local(domain) else "smtp", "NEVER")
        return self._backend.enqueue(envelope, [recipient], self._spool.write(b"", content), now)

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


def _wants_failures(notify: str) -> bool:
    """RFC 3461 4.1: without NOTIFY the sender hears of failures."""
    return not notify or "FAILURE" in notify.split(",")


def _described(recipient: QueuedRecipient, outcome: Outcome) -> DsnRecipient:
    return DsnRecipient(
        address=recipient.address,
        orcpt=decode_xtext(recipient.orcpt),
        action="failed",
        status=outcome.enhanced,
        remote_mta=outcome.host.partition(" ")[0],
        diagnostic=f"{outcome.code} {outcome.text}",
    )
