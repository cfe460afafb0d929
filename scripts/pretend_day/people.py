"""What people do with their mail on the pretend day: read it, throw junk into Junk, fetch back what fell there wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailbox_app.accounts.model import Account
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.store.interface import Store
from mailbox_app.store.model import FlagMode, SystemFlag


class Person:
    """One of our people, who looks through INBOX and Junk now and then."""

    def __init__(
        self, account: Account, store: Store, wants: Callable[[bytes], bool], learn: Callable[[AccountRef], int]
    ) -> None:
        self._ref = account.ref
        self._mail = store.account(account.ref)
        self._wants = wants
        self._learn = learn
        self._seen: dict[str, int] = {}

    def look(self) -> int:
        """Everything new since the last look; how many messages were moved. Blocking."""
        moved = self._move("INBOX", "Junk", wanted=False) + self._move("Junk", "INBOX", wanted=True)
        self._learn(self._ref)
        return moved

    def _move(self, source: str, target: str, *, wanted: bool) -> int:
        mailbox = self._mail.mailbox(source)
        new = list(map(Uid, range(self._seen.get(source, 1), mailbox.uidnext)))
        wrong: list[Uid] = []
        right: list[Uid] = []
        for uid, header in self._mail.rendered(mailbox.mailbox_id, new, ("header",)):
            (wrong if self._wants(header) is wanted else right).append(Uid(uid))  # type: ignore[arg-type]
        self._seen[source] = mailbox.uidnext
        if right and source == "INBOX":
            self._mail.store_flags(mailbox.mailbox_id, right, FlagMode.ADD, SystemFlag.SEEN)
        return self._take(mailbox.mailbox_id, wrong, target)

    def _take(self, mailbox_id: MailboxId, uids: Sequence[Uid], target: str) -> int:
        if uids:
            self._mail.copy(mailbox_id, uids, self._mail.mailbox(target).mailbox_id, move=True)
        return len(uids)
