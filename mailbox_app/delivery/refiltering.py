"""A script run over the messages of a mailbox on demand: filed anew, marked, or thrown away (to where expunged mail waits).

Nobody is told: redirects, answers, notifications and refusals are left out, and no header is changed. One message at a time, each
change durable before the next, so a run that breaks off can simply be started again. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailbox_app.accounts.model import Account
from mailbox_app.delivery.filter_context import FilteredMessage
from mailbox_app.delivery.filter_plan import Plan
from mailbox_app.delivery.filtering import Filters, NamedScript
from mailbox_app.delivery.mail import Mail, Recipient
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.mailqueue.model import Envelope
from mailbox_app.proto.header import decode_words
from mailbox_app.store.appender import Place
from mailbox_app.store.interface import Account as StoredAccount
from mailbox_app.store.interface import Store
from mailbox_app.store.model import FlagMode, SystemFlag


@dataclass(frozen=True, slots=True)
class Refiled:
    """What became (or would become) of one message."""

    uid: int
    subject: str
    act: str
    """kept, moved, copied, marked or discarded."""
    targets: Sequence[str] = ()
    notes: Sequence[str] = ()


class Refilter:
    """One run."""

    def __init__(self, filters: Filters, store: Store, account: Account, mailbox: str, script: NamedScript) -> None:
        self._filters = filters
        self._account = account
        self._stored: StoredAccount = store.account(account.ref)
        self._info = self._stored.mailbox(mailbox)
        self._script = script

    def uids(self) -> Sequence[Uid]:
        """The messages there are now."""
        return [Uid(uid) for uid in self._stored.sizes(self._info.mailbox_id).uids]

    def run(self, uids: Sequence[Uid], *, dry: bool) -> Iterator[Refiled]:
        """Go through these messages; those that are gone are passed over."""
        for uid, file in self._stored.open_messages(self._info.mailbox_id, uids):
            if file is None:
                continue
            with file:
                mail = Mail(Envelope(""), (), b"", file, 0)
                message = FilteredMessage.of(mail)
                sender = (message.header.first(b"return-path") or b"").strip(b"<> ").decode("utf-8", "replace")
                mail = Mail(Envelope(sender), (), b"", file, 0)
                plan = self._filters.plan(
                    mail,
                    message,
                    self._account,
                    Recipient(self._account.address),
                    only=self._script,
                    home=self._info.name,
                    dry=dry,
                )
                subject = decode_words(message.header.first(b"subject") or b"")[:200]
            yield self._carry_out(uid, subject, plan, dry=dry)

    def _carry_out(self, uid: Uid, subject: str, plan: Plan, *, dry: bool) -> Refiled:
        stays = next((copy.place for copy in plan.copies if copy.place.mailbox == self._info.name), None)
        targets = [copy.place for copy in plan.copies if copy.place.mailbox != self._info.name]
        names = [place.mailbox for place in targets]
        if not dry:
            for number, place in enumerate(targets):
                self._file(uid, place, move=stays is None and number == len(targets) - 1)
        if stays is None and not targets:
            act = "discarded"
            if not dry:
                self._stored.store_flags(self._info.mailbox_id, [uid], FlagMode.ADD, SystemFlag.DELETED)
                self._stored.expunge(self._info.mailbox_id, [uid])
        elif stays is not None and (stays.flags or stays.keywords):
            act = "copied" if targets else "marked"
            if not dry:
                self._mark(self._info.mailbox_id, uid, stays)
        else:
            act = "moved" if stays is None else "copied" if targets else "kept"
        return Refiled(uid, subject, act, names, plan.notes)

    def _file(self, uid: Uid, place: Place, *, move: bool) -> None:
        target = self._stored.mailbox(place.mailbox)
        copied = self._stored.copy(self._info.mailbox_id, [uid], target.mailbox_id, move=move)
        for new in copied.target_uids:
            self._mark(target.mailbox_id, new, place)

    def _mark(self, mailbox_id: MailboxId, uid: Uid, place: Place) -> None:
        if place.flags or place.keywords:
            self._stored.store_flags(mailbox_id, [uid], FlagMode.ADD, place.flags, place.keywords)
