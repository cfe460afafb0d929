"""Keeps what our users send in their Sent mailbox, for programs that do not; and once, for those that do.

What is kept are the bytes that the program handed in, with its Bcc. A program that stores the same bytes before is found here, one
that does it afterwards is told where they are (`services/imap/commands/append.py`). The message is on its way by then: a
copy that cannot be kept is logged and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.delivery.mail import Body
from mailbox_app.errors import MailboxError
from mailbox_app.store.appender import Appender, Place
from mailbox_app.store.interface import Content, Store
from mailbox_app.store.model import MailboxInfo, SpecialUse, SystemFlag
from mailbox_app.store.twins import find_twin


class SentCopies:
    """One per process; `wanted` asks the configuration that holds now."""

    def __init__(self, store: Store, offload: Offload, clock: Clock, wanted: Callable[[], bool]) -> None:
        self._store = store
        self._offload = offload
        self._clock = clock
        self._wanted = wanted
        self._appender = Appender(store, offload)
        self._log = structlog.get_logger("delivery")

    async def keep(self, account: Account, prefix: bytes, body: Body) -> None:
        """Store what an account sent, unless its Sent mailbox has it already."""
        if not self._wanted():
            return
        size_bytes = len(prefix) + (len(body) if isinstance(body, bytes) else body.seek(0, 2))
        content = Content(prefix, body, size_bytes)
        try:
            name = await self._offload.run(self._place, account, content)
            if name is not None:
                await self._appender.append(account.ref, content, Place(name, SystemFlag.SEEN))
        except MailboxError as error:
            self._log.warning("sent_copy_failed", account=account.address, code=error.code)

    def _place(self, account: Account, content: Content) -> str | None:
        """The name of the Sent mailbox; None: the message is there."""
        mailboxes = self._store.account(account.ref)
        sent = sent_mailbox(mailboxes.mailboxes())
        if sent is None:
            return SpecialUse.SENT.value  # made when absent
        return None if find_twin(mailboxes, sent, content, self._clock.epoch_seconds()) is not None else sent.name


def sent_mailbox(mailboxes: Sequence[MailboxInfo]) -> MailboxInfo | None:
    """The mailbox with the role Sent."""
    return next((each for each in mailboxes if each.special_use is SpecialUse.SENT), None)
