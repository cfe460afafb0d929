"""What people do with mail on the pretend day: read, answer, archive, delete, throw it into Junk, fetch it back from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Literal

from mailbox_app.accounts.model import Account
from mailbox_app.ids import AccountRef, MailboxId, Uid
from mailbox_app.store.interface import Store
from mailbox_app.store.model import FlagMode, SystemFlag

Opinion = Literal["wanted", "disliked", "unwanted"]
_READ = 0.85
_DELETED, _ARCHIVED, _ANSWERED, _FLAGGED = 0.2, 0.4, 0.5, 0.53
_JUNKED, _ONLY_DELETED = 0.6, 0.8
"""Of unwanted mail in the inbox: the rest is left there, some of it read."""
_FETCHED = 0.7


class Person:
    """One of our people, who looks through INBOX and Junk now and then, and is neither careful nor complete."""

    def __init__(
        self,
        account: Account,
        store: Store,
        judges: Callable[[str, bytes], Opinion],
        learn: Callable[[AccountRef], int],
    ) -> None:
        self._ref = account.ref
        self._address = account.address
        self._mail = store.account(account.ref)
        self._judges = judges
        self._learn = learn
        self._seen: dict[str, int] = {}
        self._dice = Random(account.address)
        self._mail.create("Done")

    def look(self) -> None:
        """Everything new since the last look. Blocking."""
        self._read_inbox()
        self._look_into_junk()
        self._learn(self._ref)

    def _new(self, name: str) -> tuple[MailboxId, Sequence[tuple[Uid, Opinion]]]:
        mailbox = self._mail.mailbox(name)
        uids = list(map(Uid, range(self._seen.get(name, 1), mailbox.uidnext)))
        self._seen[name] = mailbox.uidnext
        rows = self._mail.rendered(mailbox.mailbox_id, uids, ("header",))
        return mailbox.mailbox_id, [(Uid(uid), self._judges(self._address, header)) for uid, header in rows]  # type: ignore[arg-type]

    def _read_inbox(self) -> None:
        mailbox_id, new = self._new("INBOX")
        flags: dict[SystemFlag, list[Uid]] = {SystemFlag.SEEN: [], SystemFlag.ANSWERED: [], SystemFlag.FLAGGED: []}
        moves: dict[str, list[Uid]] = {"Junk": [], "Trash": [], "Done": []}
        for uid, opinion in new:
            draw = self._dice.random()
            if self._dice.random() < _READ:
                flags[SystemFlag.SEEN].append(uid)
            elif opinion == "wanted":
                continue
            if opinion != "wanted":
                if draw < _ONLY_DELETED:
                    moves["Junk" if draw < _JUNKED else "Trash"].append(uid)
            elif draw < _DELETED:
                moves["Trash"].append(uid)
            elif draw < _ARCHIVED:
                moves["Done"].append(uid)
            elif draw < _ANSWERED:
                flags[SystemFlag.ANSWERED].append(uid)
            elif draw < _FLAGGED:
                flags[SystemFlag.FLAGGED].append(uid)
        for flag, uids in flags.items():
            if uids:
                self._mail.store_flags(mailbox_id, uids, FlagMode.ADD, flag)
        for target, uids in moves.items():
            self._take(mailbox_id, uids, target)

    def _look_into_junk(self) -> None:
        mailbox_id, new = self._new("Junk")
        wanted = [uid for uid, opinion in new if opinion == "wanted" and self._dice.random() < _FETCHED]
        self._take(mailbox_id, wanted, "INBOX")
        self._seen["INBOX"] = self._mail.mailbox("INBOX").uidnext

    def _take(self, mailbox_id: MailboxId, uids: Sequence[Uid], target: str) -> None:
        if uids:
            self._mail.copy(mailbox_id, uids, self._mail.mailbox(target).mailbox_id, move=True)
