"""Learns from what people do with their mail, out of the store's log of changes: no session waits for it.

Into Junk by hand (a message saved later than it arrived) is junk; out of Junk or Rejects into any other mailbox but Trash is
wanted; so are the keywords $Junk and $NotJunk (and Thunderbird's Junk and NonJunk) set on a message. Reading a message
that is not in Junk speaks for its sender a little, answering it as much as taking it out of Junk.

Junk alone teaches no classifier, and few people ever say what they want. So what was answered, flagged, filed into another mailbox
or still lies where it was a day after it was read is wanted, too, in so far as the classifier needs it; whatever somebody says
about such a message later counts instead. What was there before an account was first looked at teaches nothing.
Blocks; one account at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from mailbox_app.errors import MailboxError
from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.policy.lessons import Lessons
from mailbox_app.policy.state.kept import KeptMail, Read
from mailbox_app.policy.state.learning_marks import LearningMarks, Mark
from mailbox_app.store.interface import Account, Store
from mailbox_app.store.model import KEYWORD_SHIFT, MailboxInfo, SpecialUse, SystemFlag

MAX_LESSONS = 500
"""Of one mailbox at one look: who moves more at once has said enough."""
_JUNK_WORDS = frozenset({"$junk", "junk"})
_WANTED_WORDS = frozenset({"$notjunk", "nonjunk", "notjunk"})
_SILENT = frozenset({SpecialUse.TRASH, SpecialUse.DRAFTS, SpecialUse.SENT})
_UNTOLD = frozenset(
    {"spam", "junk", "junk e-mail", "junk mail", "bulk mail", "trash", "deleted items", "deleted messages"}
)
"""Mailboxes of these names say nothing about wanted mail, whatever their special use."""
_KEPT = SystemFlag.ANSWERED | SystemFlag.FLAGGED
_MAX_NOTED = 20_000


class Learner:
    """One in the core."""

    def __init__(
        self, store: Store, lessons: Lessons, marks: LearningMarks, kept: KeptMail, rejects: Callable[[], str]
    ) -> None:
        self._store = store
        self._lessons = lessons
        self._marks = marks
        self._kept = kept
        self._rejects = rejects
        self._noted: OrderedDict[tuple[AccountId, bytes, bool], None] = OrderedDict()
        self._log = structlog.get_logger("junk")

    def catch_up(self, ref: AccountRef) -> int:
        """Learn from what happened in an account since the last time; the number of lessons."""
        account = self._store.account(ref)
        known = self._marks.of(ref.account_id)
        mailboxes = account.mailboxes()
        changed = [each for each in mailboxes if known.get(each.mailbox_id, (-1, 0))[0] < each.highest_modseq]
        changed.sort(key=lambda each: not self._holds_junk(each))
        lessons = self._learn_changed(account, ref, changed, known) if changed else 0
        return lessons + self._learn_kept(account, ref.account_id, {each.mailbox_id: each for each in mailboxes})

    def _learn_changed(
        self, account: Account, ref: AccountRef, changed: Sequence[MailboxInfo], known: Mapping[MailboxId, Mark]
    ) -> int:
        lessons, marks, junk = 0, dict[MailboxId, Mark](), list[bytes]()
        for info in changed:
            marks[info.mailbox_id] = (info.highest_modseq, info.uidnext)
            mark = known.get(info.mailbox_id)
            if mark is None and not known:
                if self._holds_junk(info):
                    junk += _digests(account, info.mailbox_id, _latest(account, info.mailbox_id)).values()
                continue
            look = _Look(self, account, ref.account_id, info, mark or (0, 0), set(junk))
            lessons += look.learn()
            junk += look.junk
        self._marks.note(ref.account_id, marks, junk)
        return lessons

    def _learn_kept(self, account: Account, account_id: AccountId, mailboxes: Mapping[MailboxId, MailboxInfo]) -> int:
        """What was read a day ago and is where it was."""
        due = self._kept.due(account_id)
        lessons = 0
        for read in due:
            info = mailboxes.get(read.mailbox_id)
            if info is None or self.room_for_kept(account_id) <= 0:
                continue
            flags = [each.flags for each in account.messages(read.mailbox_id, [read.uid])]
            if flags and not flags[0] & SystemFlag.DELETED:
                lessons += self.teach(account, account_id, info, read.uid, read.digest, spam=False, kept=True)
        if due:
            self._kept.forget(account_id, due)
        return lessons

    def room_for_kept(self, account_id: AccountId) -> int:
        """How many more messages that were only kept may teach."""
        return self._lessons.room_for_kept(account_id)

    def await_kept(self, account_id: AccountId, messages: Sequence[Read]) -> None:
        """These were read; what becomes of them is looked at in a day."""
        self._kept.add(account_id, messages)

    def _holds_junk(self, info: MailboxInfo) -> bool:
        return info.special_use is SpecialUse.JUNK or (bool(info.name) and info.name == self._rejects())

    def is_junk(self, info: MailboxInfo) -> bool:
        """Whether people put junk here (nobody puts anything into Rejects)."""
        return info.special_use is SpecialUse.JUNK

    def holds_junk(self, info: MailboxInfo) -> bool:
        """Whether taking a message out of here says that it is wanted."""
        return self._holds_junk(info)

    def were_junk(self, account_id: AccountId, digests: Sequence[bytes]) -> set[bytes]:
        """Those that are or were in Junk."""
        return self._marks.were_junk(account_id, digests)

    def teach(
        self,
        account: Account,
        account_id: AccountId,
        info: MailboxInfo,
        uid: Uid,
        digest: bytes,
        *,
        spam: bool,
        kept: bool = False,
    ) -> int:
        """One lesson; 0 when it was known or could not be read any more."""
        try:
            with account.open_message(info.mailbox_id, uid) as file:
                learnt = self._lessons.learn(account_id, digest, file, is_spam=spam, kept=kept)
        except (MailboxError, OSError) as error:
            self._log.info("lesson_missed", account_id=account_id, reason=str(error))
            return 0
        if learnt:
            self._log.info("learnt", account_id=account_id, spam=spam, kept=kept)
        return int(learnt)

    def note_kept(self, account_id: AccountId, digest: bytes, block: bytes, *, answered: bool) -> None:
        """A message was read or answered; each counts once."""
        key = (account_id, digest, answered)
        if key not in self._noted:
            self._noted[key] = None
            while len(self._noted) > _MAX_NOTED:
                self._noted.popitem(last=False)
            self._lessons.note_kept(account_id, block, answered=answered)


class _Look:
    """One mailbox's changes since its mark."""

    def __init__(
        self, learner: Learner, account: Account, account_id: AccountId, info: MailboxInfo, mark: Mark, junk: set[bytes]
    ) -> None:
        self._learner = learner
        self._account = account
        self._account_id = account_id
        self._info = info
        self._mark = mark
        self._fresh_junk = junk
        """What came into Junk at the same look."""
        self.junk: list[bytes] = []

    def learn(self) -> int:
        changes = self._account.changes(self._info.mailbox_id, Modseq(self._mark[0]))
        new = [(uid, flags) for uid, flags, _ in changes.changed if uid >= self._mark[1]][-MAX_LESSONS:]
        old = [(uid, flags) for uid, flags, _ in changes.changed if uid < self._mark[1]][-MAX_LESSONS:]
        if not changes.complete:  # all messages, most of them unchanged
            old = []
        lessons = self._learn_new([uid for uid, _ in new])
        if self._info.special_use not in _SILENT:
            lessons += self._learn_marked([*old, *new], changes.keywords)
            if not self._learner.holds_junk(self._info) and self._info.name.rpartition("/")[2].lower() not in _UNTOLD:
                lessons += self._learn_kept([*old, *new], self._mark[1])
        return lessons

    def _learn_new(self, uids: Sequence[Uid]) -> int:
        rows = list(
            self._account.rendered(self._info.mailbox_id, uids, ("email_id", "internal_seconds", "saved_seconds"))
        )
        if self._learner.holds_junk(self._info):
            self.junk = [_bytes(digest) for _, digest, _, _ in rows]
            if not self._learner.is_junk(self._info):
                return 0
            moved = [(_uid(uid), _bytes(digest)) for uid, digest, arrived, saved in rows if arrived != saved]
            return self._teach(moved, spam=True)
        if self._info.special_use in _SILENT:
            return 0
        digests = [_bytes(digest) for _, digest, _, _ in rows]
        junk = self._learner.were_junk(self._account_id, digests) | self._fresh_junk
        back = [(_uid(uid), _bytes(digest)) for uid, digest, _, _ in rows if _bytes(digest) in junk]
        return self._teach(back, spam=False)

    def _learn_marked(self, changed: Sequence[tuple[Uid, int]], keywords: Sequence[str]) -> int:
        bad, good = _mask(keywords, _JUNK_WORDS), _mask(keywords, _WANTED_WORDS)
        if not bad and not good:
            return 0
        lessons = 0
        for spam, mask, other in ((True, bad, good), (False, good, bad)):
            uids = [uid for uid, flags in changed if flags & mask and not flags & other]
            if uids:
                digests = _digests(self._account, self._info.mailbox_id, uids)
                lessons += self._teach([(uid, digests[uid]) for uid in uids if uid in digests], spam=spam)
        return lessons

    def _learn_kept(self, changed: Sequence[tuple[Uid, int]], new_from: int) -> int:
        """What was read or answered speaks for its sender; what was answered, flagged or filed here teaches; the rest waits."""
        kept = {uid: flags for uid, flags in changed if flags & (SystemFlag.SEEN | _KEPT)}
        columns = ("email_id", "header", "internal_seconds", "saved_seconds")
        told, read = list[tuple[Uid, bytes]](), list[Read]()
        for number, digest, header, arrived, saved in self._account.rendered(
            self._info.mailbox_id, sorted(kept), columns
        ):
            uid, found = _uid(number), _bytes(digest)
            for flag, answered in ((SystemFlag.SEEN, False), (SystemFlag.ANSWERED, True)):
                if kept[uid] & flag:
                    self._learner.note_kept(self._account_id, found, _bytes(header), answered=answered)
            if kept[uid] & SystemFlag.DELETED:
                continue
            is_filed = uid >= new_from and arrived != saved and self._info.name != "INBOX"
            if kept[uid] & _KEPT or is_filed:
                told.append((uid, found))
            else:
                read.append(Read(found, self._info.mailbox_id, uid))
        room = max(0, self._learner.room_for_kept(self._account_id)) if told or read else 0
        if room and read:
            self._learner.await_kept(self._account_id, read)
        return self._teach(told[:room], spam=False, kept=True)

    def _teach(self, messages: Iterable[tuple[Uid, bytes]], *, spam: bool, kept: bool = False) -> int:
        return sum(
            [
                self._learner.teach(self._account, self._account_id, self._info, uid, digest, spam=spam, kept=kept)
                for uid, digest in messages
            ]
        )


def _latest(account: Account, mailbox_id: MailboxId) -> Sequence[Uid]:
    return [Uid(uid) for uid in account.sizes(mailbox_id).uids[-MAX_LESSONS * 10 :]]


def _digests(account: Account, mailbox_id: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, bytes]:
    rows = account.rendered(mailbox_id, uids, ("email_id",))
    return {_uid(uid): _bytes(digest) for uid, digest in rows}


def _mask(keywords: Sequence[str], words: frozenset[str]) -> int:
    return sum(1 << (KEYWORD_SHIFT + number) for number, word in enumerate(keywords) if word.lower() in words)


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _uid(value: object) -> Uid:
    assert isinstance(value, int)
    return Uid(value)
