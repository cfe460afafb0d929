"""Success reports for who asked for them (NOTIFY=SUCCESS, RFC 3461 5.2): delivered here, or expanded to several addresses.

They are made where delivery happens, also before the 250 of a message that comes in by SMTP: the report is in the queue
before anybody hears that the message was taken. Nothing is looked at when nobody asked. A stranger whose SPF failed, or whose
mail looks like junk, is not told: receipts to forged senders would make us the spammer's hand.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.header_block import read_header
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.ids import QueueId
from mailbox_app.mailauth.results import Result
from mailbox_app.mailqueue.bounces import Bounces, Reported, wants, without_success
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.proto.dsn import Action, DsnRecipient
from mailbox_app.proto.smtp.orcpt import readable_orcpt

_UNPROVEN = frozenset({Result.FAIL, Result.SOFTFAIL, Result.PERMERROR})


class Receipts:
    """One per process."""

    def __init__(self, bounces: Bounces, offload: Offload, clock: Clock, mail_log: MailLog) -> None:
        self._bounces = bounces
        self._offload = offload
        self._clock = clock
        self._mail_log = mail_log

    async def send(self, mail: Mail, stored: Collection[str], refused: Collection[str]) -> QueueId | None:
        """Tell the sender what has become of recipients: `stored` are the accounts that have the message, `refused` the
        recipients that got nothing. Durable on return; a `MailboxError` when it could not be queued."""
        if not may_be_told(mail):
            return None
        told = [
            _described(recipient, action, mail)
            for recipient in mail.recipients
            if wants(recipient.notify, "SUCCESS") and recipient.address not in refused
            if (action := _action(recipient, stored)) is not None
        ]
        if not told:
            return None
        header = mail.prefix if mail.prefix.endswith(b"\r\n\r\n") else mail.prefix + read_header(mail.body)
        about = Reported(mail.envelope, mail.trace_id, mail.arrived_at or self._clock.now(), header)
        report = await self._offload.run(self._bounces.send, about, told)
        self._mail_log.write(
            MailEvent(
                verb="queued",
                direction="out",
                queue_id=report,
                recipients=(mail.envelope.sender,),
                text=f"receipt for {mail.trace_id}",
            )
        )
        return report


def may_be_told(mail: Mail) -> bool:
    """Whether the sender of a message, as far as one knows, is who it says."""
    if not mail.envelope.sender or mail.judgement.is_junk():
        return False
    return mail.auth is None or mail.auth.spf.result not in _UNPROVEN


def after_expansion(recipients: Sequence[Recipient]) -> Sequence[Recipient]:
    """What remains of NOTIFY behind an alias with several members: the expansion is the success. RFC 3461 5.2.7.3"""
    if not any("SUCCESS" in recipient.notify for recipient in recipients):
        return recipients
    return [
        replace(recipient, notify=without_success(recipient.notify)) if _is_expanded(recipient) else recipient
        for recipient in recipients
    ]


def _is_expanded(recipient: Recipient) -> bool:
    return len(recipient.accounts) + len(recipient.outside) > 1 and "SUCCESS" in recipient.notify


def _action(recipient: Recipient, stored: Collection[str]) -> Action | None:
    """None: nothing yet, or others tell it."""
    if recipient.lists and not recipient.accounts and not recipient.outside:
        return "delivered"  # RFC 3461 5.2.7.1: a list is where the message ends
    if _is_expanded(recipient):
        return "expanded"
    return "delivered" if any(account.address in stored for account in recipient.accounts) else None


def _described(recipient: Recipient, action: Action, mail: Mail) -> DsnRecipient:
    return DsnRecipient(
        address=recipient.address,
        orcpt=readable_orcpt(recipient.orcpt),
        action=action,
        status="2.0.0" if action == "expanded" else "2.1.5",
        final_log_id=mail.trace_id,
    )
