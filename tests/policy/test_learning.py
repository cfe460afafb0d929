"""What people do with their mail, learnt from the store's changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId, AccountRef, Uid
from mailbox_app.policy import lessons as lessons_module
from mailbox_app.policy.bayes import Counts
from mailbox_app.policy.learning import Learner
from mailbox_app.policy.lessons import Lessons
from mailbox_app.policy.state.kept import KEPT_SECONDS, KeptMail
from mailbox_app.policy.state.learning_marks import LearningMarks
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.model import FlagMode, MailboxInfo, SpecialUse, SystemFlag
from tests.support.policy import Bench

REF = AccountRef(AccountId(1), "example.org", "alice", 0, 0)
TRACE = (
    b"Authentication-Results: mail.example.org; spf=pass smtp.mailfrom=shop.example.com;\r\n"
    b"\tdmarc=pass header.from=shop.example.com\r\n"
    b"Received: from mx.shop.example.com ([192.0.2.9])\r\n"
    b"\tby mail.example.org with ESMTP id x;\r\n\tMon, 05 Jan 2026 10:00:00 +0000\r\n"
)
MESSAGE = TRACE + b"From: Shop <news@shop.example.com>\r\nSubject: Offer %d\r\n\r\nCheap watches number %d\r\n"
ADDRESS = "address:news@shop.example.com"


class Home:
    """One account and its learner."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.store = MaildirStore(folder, LocalBus(), hostname="mail.example.org", clock=self.bench.clock)
        state = self.bench.files.state
        lessons = Lessons(state.corpus, state.reputation, "mail.example.org")
        marks = LearningMarks(self.bench.files.junk, self.bench.clock)
        kept = KeptMail(self.bench.files.junk, self.bench.clock)
        self.learner = Learner(self.store, lessons, marks, kept, lambda: "Rejects")
        self.account = self.store.account(REF)
        self.learner.catch_up(REF)

    def box(self, name: str) -> MailboxInfo:
        return self.account.mailbox(name)

    @property
    def junk(self) -> MailboxInfo:
        return next(each for each in self.account.mailboxes() if each.special_use is SpecialUse.JUNK)

    def deliver(self, mailbox: str, number: int = 1) -> Uid:
        raw = MESSAGE % (number, number)
        staged = self.store.stage(REF, Content(b"", raw, len(raw)))
        appended = self.account.append([NewMessage(staged, mailbox)])[0]
        assert not isinstance(appended, Exception)
        return appended.uid

    def move(self, uid: Uid, source: MailboxInfo, target: MailboxInfo) -> Uid:
        self.bench.clock.skip(60)
        return self.account.copy(source.mailbox_id, [uid], target.mailbox_id, move=True).target_uids[0]

    def learn(self) -> int:
        self.bench.clock.skip(60)  # totals are remembered for a while
        return self.learner.catch_up(REF)

    @property
    def totals(self) -> Counts:
        return self.bench.files.state.corpus.totals(REF.account_id)

    def tally(self, sender: str) -> tuple[float, float, float]:
        known = self.bench.files.state.reputation.tallies([REF.account_id], [sender])
        found = known.get(REF.account_id, {}).get(sender, (0.0, 0.0, 0.0))
        return round(found[0], 1), round(found[1], 1), round(found[2], 1)

    def flag(self, uid: Uid, flag: SystemFlag, mailbox: str = "INBOX") -> None:
        self.account.store_flags(self.box(mailbox).mailbox_id, [uid], FlagMode.ADD, flag)

    def close(self) -> None:
        self.store.close()
        self.bench.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.close()


def test_a_move_into_junk_teaches_junk_and_a_bad_sender(home: Home) -> None:
    uid = home.deliver("INBOX")
    assert home.learn() == 0
    home.move(uid, home.box("INBOX"), home.junk)
    assert home.learn() == 1
    assert home.totals == Counts(1, 0)
    assert home.tally(ADDRESS) == (1.0, 0.0, 0.0)
    assert home.tally("network:192.0.2.0/24") == (1.0, 0.0, 0.0)


def test_a_move_before_the_first_look_at_the_message_is_seen_too(home: Home) -> None:
    home.move(home.deliver("INBOX"), home.box("INBOX"), home.junk)
    assert home.learn() == 1


def test_a_delivery_into_junk_teaches_nothing(home: Home) -> None:
    home.deliver(home.junk.name)
    assert home.learn() == 0
    assert home.totals == Counts(0, 0)


def test_a_move_out_of_junk_teaches_wanted(home: Home) -> None:
    uid = home.deliver(home.junk.name)
    home.learn()
    home.move(uid, home.junk, home.box("INBOX"))
    assert home.learn() == 1
    assert home.totals == Counts(0, 1)
    assert home.tally(ADDRESS) == (0.0, 1.0, 0.0)


def test_a_move_from_junk_to_trash_teaches_nothing(home: Home) -> None:
    uid = home.deliver(home.junk.name)
    home.learn()
    trash = next(each for each in home.account.mailboxes() if each.special_use is SpecialUse.TRASH)
    home.move(uid, home.junk, trash)
    assert home.learn() == 0


def test_a_change_of_mind_takes_the_first_lesson_back(home: Home) -> None:
    uid = home.move(home.deliver("INBOX"), home.box("INBOX"), home.junk)
    home.learn()
    home.move(uid, home.junk, home.box("INBOX"))
    assert home.learn() == 1
    assert home.totals == Counts(0, 1)
    assert home.tally(ADDRESS) == (0.0, 1.0, 0.0)


def test_taking_a_message_out_of_rejects_teaches_wanted(home: Home) -> None:
    home.account.create("Rejects")
    uid = home.deliver("Rejects")
    assert home.learn() == 0
    home.move(uid, home.box("Rejects"), home.box("INBOX"))
    assert home.learn() == 1
    assert home.totals == Counts(0, 1)


@pytest.mark.parametrize(("keyword", "totals"), [("$Junk", Counts(1, 0)), ("NonJunk", Counts(0, 1))])
def test_keywords_teach(home: Home, keyword: str, totals: Counts) -> None:
    uid = home.deliver("INBOX")
    home.learn()
    home.account.store_flags(home.box("INBOX").mailbox_id, [uid], FlagMode.ADD, 0, [keyword])
    assert home.learn() == 1
    assert home.totals == totals
    home.account.store_flags(home.box("INBOX").mailbox_id, [uid], FlagMode.ADD, SystemFlag.FLAGGED)
    assert home.learn() == 0


def test_what_was_read_and_kept_for_a_day_is_wanted(home: Home) -> None:
    home.flag(home.deliver("INBOX"), SystemFlag.SEEN)
    assert home.learn() == 0
    home.bench.clock.skip(KEPT_SECONDS - 120)
    assert home.learn() == 0
    home.bench.clock.skip(120)
    assert home.learn() == 1
    assert home.totals == Counts(0, 1)
    assert home.tally(ADDRESS) == (0.0, 0.0, 1.0)
    home.bench.clock.skip(KEPT_SECONDS)
    assert home.learn() == 0


def test_what_was_not_read_teaches_nothing_however_long_it_lies(home: Home) -> None:
    home.deliver("INBOX")
    home.learn()
    home.bench.clock.skip(10 * KEPT_SECONDS)
    assert home.learn() == 0


@pytest.mark.parametrize("end", ["expunged", "trash", "deleted"])
def test_what_was_read_and_thrown_away_teaches_nothing(home: Home, end: str) -> None:
    uid = home.deliver("INBOX")
    home.flag(uid, SystemFlag.SEEN)
    home.learn()
    if end == "trash":
        trash = next(each for each in home.account.mailboxes() if each.special_use is SpecialUse.TRASH)
        home.move(uid, home.box("INBOX"), trash)
    else:
        home.flag(uid, SystemFlag.DELETED)
        if end == "expunged":
            home.account.expunge(home.box("INBOX").mailbox_id, None)
    home.bench.clock.skip(KEPT_SECONDS)
    assert home.learn() == 0
    assert home.totals == Counts(0, 0)


@pytest.mark.parametrize("flag", [SystemFlag.ANSWERED, SystemFlag.FLAGGED])
def test_what_is_answered_or_flagged_is_wanted_at_once(home: Home, flag: SystemFlag) -> None:
    uid = home.deliver("INBOX")
    home.learn()
    home.flag(uid, flag)
    assert home.learn() == 1
    assert home.totals == Counts(0, 1)


@pytest.mark.parametrize(("name", "lessons"), [("Projects/Garden", 1), ("Old/Spam", 0)])
def test_what_is_filed_is_wanted_except_where_the_name_speaks_against_it(home: Home, name: str, lessons: int) -> None:
    home.account.create(name)
    uid = home.deliver("INBOX")
    home.flag(uid, SystemFlag.SEEN)
    home.learn()
    home.move(uid, home.box("INBOX"), home.box(name))
    assert home.learn() == lessons
    home.bench.clock.skip(KEPT_SECONDS)
    assert home.learn() == 0
    assert home.totals == Counts(0, lessons)


def test_what_was_kept_and_is_junk_after_all_is_learnt_the_other_way(home: Home) -> None:
    uid = home.deliver("INBOX")
    home.flag(uid, SystemFlag.SEEN)
    home.learn()
    home.bench.clock.skip(KEPT_SECONDS)
    home.learn()
    assert home.totals == Counts(0, 1)
    home.move(uid, home.box("INBOX"), home.junk)
    assert home.learn() == 1
    assert home.totals == Counts(1, 0)
    assert home.tally(ADDRESS) == (1.0, 0.0, 1.0)


def test_keeping_never_takes_back_what_somebody_said(home: Home) -> None:
    uid = home.deliver("INBOX")
    home.account.store_flags(home.box("INBOX").mailbox_id, [uid], FlagMode.ADD, SystemFlag.SEEN, ["$Junk"])
    home.learn()
    home.bench.clock.skip(KEPT_SECONDS)
    assert home.learn() == 0
    assert home.totals == Counts(1, 0)


def test_no_more_kept_mail_is_learnt_than_serves_the_classifier(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons_module, "FIRST_KEPT", 3)
    for number in range(8):
        home.flag(home.deliver("INBOX", number), SystemFlag.FLAGGED)
    assert home.learn() == 3
    home.move(home.deliver("INBOX", 100), home.box("INBOX"), home.junk)
    home.learn()
    for number in range(8):
        home.flag(home.deliver("INBOX", 200 + number), SystemFlag.FLAGGED)
    home.learn()
    assert home.totals == Counts(1, 4)


def test_nothing_that_was_learnt_can_be_read_in_the_file(home: Home, tmp_path: Path) -> None:
    home.flag(home.deliver("INBOX"), SystemFlag.ANSWERED)
    home.move(home.deliver("INBOX", 2), home.box("INBOX"), home.junk)
    assert home.learn() == 2
    home.bench.files.junk.close()
    files = b"".join(each.read_bytes() for each in tmp_path.glob("junk.db*"))
    assert files
    assert b"watches" not in files.lower()
    assert b"offer" not in files.lower()


def test_reading_and_answering_speak_for_the_sender_once(home: Home) -> None:
    uid = home.deliver("INBOX")
    home.learn()
    for flag in (SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.ANSWERED):
        home.account.store_flags(home.box("INBOX").mailbox_id, [uid], FlagMode.ADD, flag)
        home.learn()
    assert home.tally(ADDRESS) == (0.0, 1.0, 1.0)


def test_what_was_there_before_the_first_look_teaches_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    store = MaildirStore(tmp_path, LocalBus(), hostname="mail.example.org", clock=bench.clock)
    account = store.account(REF)
    inbox = account.mailbox("INBOX")
    junk = next(each for each in account.mailboxes() if each.special_use is SpecialUse.JUNK)
    raw = MESSAGE % (1, 1)
    appended = account.append([NewMessage(store.stage(REF, Content(b"", raw, len(raw))), "INBOX")])[0]
    assert not isinstance(appended, Exception)
    bench.clock.skip(60)
    account.copy(inbox.mailbox_id, [appended.uid], junk.mailbox_id, move=True)
    state = bench.files.state
    marks = LearningMarks(bench.files.junk, bench.clock)
    kept = KeptMail(bench.files.junk, bench.clock)
    learner = Learner(store, Lessons(state.corpus, state.reputation, "mail.example.org"), marks, kept, lambda: "")
    assert learner.catch_up(REF) == 0
    store.close()
    bench.close()
