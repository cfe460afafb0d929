"""The queue's transport for local recipients: bounces, and mail that a mailbox could not take at once.

A full mailbox or a store in trouble defers; an address that is gone fails; an alias that leads outside by now goes back into the
queue for the SMTP transport.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import structlog

from mailbox_app.delivery.inbound import Inbound
from mailbox_app.delivery.mail import Filing, Mail
from mailbox_app.delivery.recipients import Recipients
from mailbox_app.errors import MailboxError
from mailbox_app.mailqueue.interface import Transport
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, QueuedRecipient
from mailbox_app.mailqueue.spool import is_lost
from mailbox_app.observe.metrics import Metrics
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.smtp.replies import Reply, reply_for

_TEXT_CHARACTERS = 500
"""What an attempt's record holds."""


class LocalTransport(Transport):
    """Delivers leases whose transport is "local"."""

    def __init__(self, inbound: Inbound, recipients: Recipients, metrics: Metrics) -> None:
        self._inbound = inbound
        self._recipients = recipients
        self._metrics = metrics
        self._log = structlog.get_logger("delivery")

    async def deliver(self, lease: Lease) -> Sequence[Outcome]:
        """One outcome per leased recipient."""
        outcomes = []
        for recipient in lease.message.recipients:
            try:
                reply = await self._deliver(lease, recipient)
            except MailboxError as error:
                reply = reply_for(error)
            except OSError as error:
                self._log.error("spool file unreadable", queue_id=lease.message.queue_id, error=str(error))
                lost = is_lost(error, lease.spool_path)
                text = "the message's file is lost" if lost else "the message's file cannot be read now"
                fate = Fate.QUARANTINED if lost else Fate.DEFERRED
                outcomes.append(Outcome(recipient.address, fate, 451, "4.3.0", text))
                continue
            except Exception as error:  # noqa: BLE001 - a runner's edge: unknown means temporary for mail in hand
                self._metrics.errors.inc()
                self._log.error("local_delivery_failed", queue_id=lease.message.queue_id, exc_info=error)
                reply = Reply(451, "4.3.0", "Local trouble, try again later")
            fate = Fate.DELIVERED if reply.code < 400 else Fate.DEFERRED if reply.code < 500 else Fate.FAILED
            outcomes.append(Outcome(recipient.address, fate, reply.code, reply.enhanced, reply.text))
        return outcomes

    async def _deliver(self, lease: Lease, queued: QueuedRecipient) -> Reply:
        found = self._recipients.local(queued.address, notify=queued.notify, orcpt=queued.orcpt)
        if found is None:
            return Reply(550, "5.1.1", "No such mailbox here")
        message = lease.message
        with open(lease.spool_path, "rb", buffering=0) as file:  # noqa: ASYNC230 - opening a local file does not wait
            body = io.BufferedReader(file)
            judgement = await self._inbound.judged_before(body)
            mail = Mail(
                message.envelope,
                [found],
                b"",
                body,
                message.size_bytes,
                judgement,
                trace_id=message.queue_id,
                arrived_at=message.arrived_at,
            )
            # A stranger who was told 250 gets no report because of somebody's rule: that is how forged senders are hit.
            is_ours = bool(message.envelope.submitter and message.envelope.sender)
            delivered = await self._inbound.deliver(mail, may_refuse=is_ours)
        return Reply(250, "2.1.5", _told(delivered.filings))


def _told(filings: Sequence[Filing]) -> str:
    """What became of the copies, for the attempt's record: "Delivered: stored INBOX, redirected x@y.example"."""
    acts = [f"{filing.action} {filing.target} ({filing.reason})" if filing.reason else f"{filing.action} {filing.target}"
            for filing in filings]  # fmt: skip
    return clean(f"Delivered: {', '.join(act.strip() for act in acts)}" if acts else "Delivered")[:_TEXT_CHARACTERS]
