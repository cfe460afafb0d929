"""The view against a plain list: whatever is loaded when, the client's numbers mean the same messages."""

from array import array
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mailbox_app.ids import AccountId, AccountRef, MailboxId, Modseq, Uid
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap import selected
from mailbox_app.services.imap.message_set import has_star, positions_of_uids, uid_bounds
from mailbox_app.services.imap.selected import RECENT, FlagTexts, Selected
from mailbox_app.store.model import BlockCount, BlockRows, Changes, MailboxInfo, Outline

BITS = 3
"""Eight UIDs a block."""


class FakeMailbox:
    """A mailbox as the store tells it, kept as plain dictionaries."""

    def __init__(self, uids: list[int], *, log_limit: int = 1000) -> None:
        self.rows = dict.fromkeys(uids, (0, 1))
        self.modseq = 1
        self.uidnext = max(uids, default=0) + 1
        self.keywords = ("kw",)
        self.log: list[tuple[int, int]] = []
        self.log_limit = log_limit
        self.floor = 0

    def change(self, uid: int, flags: int) -> None:
        self.modseq += 1
        self.rows[uid] = (flags, self.modseq)

    def arrive(self, count: int, gap: int = 0) -> None:
        self.modseq += 1
        for _ in range(count):
            self.uidnext += gap
            self.rows[self.uidnext] = (0, self.modseq)
            self.uidnext += 1

    def expunge(self, uids: list[int]) -> None:
        self.modseq += 1
        for uid in uids:
            del self.rows[uid]
            self.log.append((self.modseq, uid))
        while len(self.log) > self.log_limit:
            self.floor = self.log.pop(0)[0]

    def outline(self) -> Outline:
        counts = Counter(uid >> BITS for uid in self.rows)
        info = MailboxInfo(
            MailboxId(1), "INBOX", 1, Uid(self.uidnext), Modseq(self.modseq), len(self.rows), 0, 0, 0, Uid(1), True, None,
            self.keywords,
        )  # fmt: skip
        blocks = [BlockCount(number, count, 0) for number, count in sorted(counts.items())]
        return Outline(info, BITS, blocks, None, len(self.rows), "")

    def blocks(self, numbers: list[int], as_of: int, below: int) -> list[BlockRows]:
        found = []
        for number in numbers:
            uids = sorted(uid for uid in self.rows if uid >> BITS == number and uid < below)
            flags = array("Q", [self.rows[uid][0] for uid in uids])
            modseqs = array("Q", [min(as_of, self.rows[uid][1]) for uid in uids])
            gone = sorted(u for modseq, u in self.log if modseq > as_of and u >> BITS == number and u < below)
            found.append(BlockRows(number, array("I", uids), flags, modseqs, gone))
        return found

    def changes(self, since: int) -> Changes:
        complete = since >= self.floor
        changed = [(Uid(u), f, Modseq(m)) for u, (f, m) in sorted(self.rows.items()) if m > since or not complete]
        expunged = sorted(uid for modseq, uid in self.log if modseq > since)
        if not complete:
            expunged = [uid for uid in range(1, self.uidnext) if uid not in self.rows]
        return Changes(
            changed, [Uid(u) for u in expunged], Modseq(self.modseq), Uid(self.uidnext), self.keywords, True, complete
        )


class Client:
    """A session without its wire: loads what the view asks for, and follows its lines as a client does."""

    def __init__(self, mailbox: FakeMailbox, first_recent: int | None = None) -> None:
        self.mailbox = mailbox
        ref = AccountRef(AccountId(1), "example.org", "alice", 0)
        first = None if first_recent is None else Uid(first_recent)
        self.view = Selected(mailbox.outline(), ref, "lr", first, read_only=False)
        self.uids = sorted(mailbox.rows)
        self.seen: list[int | None] = list(self.uids)

    def load(self, numbers: list[int]) -> None:
        self.view.fill(self.mailbox.blocks(numbers, self.view.highest_modseq, self.view.uidnext))

    def load_all(self) -> None:
        self.load(self.view.blocks.missing(None))

    def follow(self, lines: list[str]) -> None:
        for line in lines:
            words = line.split()
            if words[1] == "VANISHED":
                for low, high in Cursor(words[2].encode()).sequence_set().bounds(0):
                    self.seen = [uid for uid in self.seen if uid is None or not low <= uid <= high]
            elif words[2] == "EXPUNGE":
                del self.seen[int(words[1]) - 1]
            elif words[2] == "EXISTS":
                self.seen += [None] * (int(words[1]) - len(self.seen))

    def look(self, *, expunges: bool = True, vanished: bool = False) -> list[str]:
        changes = self.mailbox.changes(self.view.highest_modseq)
        self.load(self.view.concerned(changes, expunges=expunges, vanished=vanished))
        lines, new = self.view.apply(changes, expunges=expunges, uid=True, modseq=True, vanished=vanished)
        self.follow(lines)
        # a client learns the UIDs of what is new
        self.seen = [uid for uid in self.seen if uid is not None] + list(new)
        return lines

    def remove_here(self, uids: list[int], *, vanished: bool = False) -> list[str]:
        self.mailbox.expunge(uids)
        self.view.expunged_here(uids)
        self.load(self.view.blocks_to_tell(vanished=vanished))
        lines = self.view.remove_withheld(vanished=vanished)
        self.follow(lines)
        return lines


def test_nothing_is_loaded_to_know_the_counts() -> None:
    client = Client(FakeMailbox(list(range(1, 40))))
    assert client.view.count == 39
    assert client.view.blocks.missing(None) == [0, 1, 2, 3, 4]
    client.mailbox.arrive(3)
    assert client.look() == ["* 42 EXISTS\r\n"]
    assert client.view.blocks.missing(None) == [0, 1, 2, 3, 4]  # 40 to 42 are in a block of their own, known whole


def test_expunge_numbers_are_taken_before_each_removal() -> None:
    client = Client(FakeMailbox([3, 5, 17, 19]))
    client.mailbox.expunge([3, 17])
    assert client.look() == ["* 1 EXPUNGE\r\n", "* 2 EXPUNGE\r\n"]
    client.load_all()
    assert list(client.view.uids_at(range(2))) == [5, 19]


def test_vanished_needs_nothing_loaded() -> None:
    client = Client(FakeMailbox([3, 5, 17, 19]))
    client.mailbox.expunge([3, 17])
    assert client.look(vanished=True) == ["* VANISHED 3,17\r\n"]
    assert client.view.blocks.missing(None) == [0, 2]
    client.load_all()
    assert list(client.view.uids_at(range(2))) == [5, 19]


def test_withheld_expunges_keep_their_numbers_until_told() -> None:
    client = Client(FakeMailbox([3, 5]))
    client.mailbox.expunge([3])
    client.mailbox.arrive(1)
    assert client.look(expunges=False) == ["* 3 EXISTS\r\n"]
    client.load_all()
    assert list(client.view.uids_at(range(3))) == [3, 5, 6]
    assert client.view.remove_withheld() == ["* 1 EXPUNGE\r\n"]


def test_a_block_that_is_loaded_late_is_as_the_view_must_see_it() -> None:
    client = Client(FakeMailbox([3, 5, 7]))
    client.mailbox.expunge([5])
    client.mailbox.change(7, 1)
    client.mailbox.arrive(1)
    client.load_all()
    assert list(client.view.uids_at(range(3))) == [3, 5, 7]
    assert list(client.view.flags_at(range(3))) == [0, 8, 1]
    assert client.look() == ["* 2 EXPUNGE\r\n", "* 2 FETCH (UID 7 FLAGS (\\Seen) MODSEQ (3))\r\n", "* 3 EXISTS\r\n"]


def test_own_removals_are_not_taken_out_twice() -> None:
    client = Client(FakeMailbox(list(range(1, 20))))
    assert client.remove_here([2, 12], vanished=True) == ["* VANISHED 2,12\r\n"]
    client.mailbox.expunge([13])
    assert client.look(vanished=True) == ["* VANISHED 13\r\n"]
    assert client.view.count == 16
    client.load_all()
    assert list(client.view.uids_at(range(16))) == sorted(client.mailbox.rows)


def test_a_block_read_before_an_own_removal_serves_after_it() -> None:
    client = Client(FakeMailbox([1, 2, 3, 9]))
    before = client.mailbox.blocks([0, 1], client.view.highest_modseq, client.view.uidnext)
    assert client.remove_here([2, 9], vanished=True) == ["* VANISHED 2,9\r\n"]
    client.view.fill(before)
    assert list(client.view.uids_at(range(2))) == [1, 3]


def test_own_changes_are_not_told_twice() -> None:
    client = Client(FakeMailbox([3]))
    client.load_all()
    client.mailbox.change(3, 1)
    assert client.view.set_flags([(3, 1, 2)]) == [0]
    assert client.look() == []


def test_new_keywords_are_told_before_flags_that_name_them() -> None:
    client = Client(FakeMailbox([3]))
    client.mailbox.keywords = ("kw", "new")
    client.mailbox.change(3, 1 << 9)
    lines = client.look()
    assert lines[0] == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft kw new)\r\n"
    assert lines[2] == "* 1 FETCH (UID 3 FLAGS (new) MODSEQ (2))\r\n"


def test_recent_is_counted_over_expunges_loaded_or_not() -> None:
    mailbox = FakeMailbox([3, 5, 7, 9, 17])
    outline = mailbox.outline()
    client = Client(mailbox, first_recent=1)
    assert outline.recent_count == client.view.recent_count == 5
    mailbox.expunge([5, 17])
    client.look(vanished=True)
    assert client.view.recent_count == 3
    mailbox.arrive(2)
    assert client.view.highest_modseq < mailbox.modseq
    client.look()
    assert client.view.mark_recent_since(Uid(19), [18, 19]) == ["* 4 RECENT\r\n"]
    client.load_all()
    assert [bool(flags & RECENT) for flags in client.view.flags_at(range(5))] == [True, True, True, False, True]
    assert client.view.texts[RECENT] == "(\\Recent)"


def test_a_log_that_is_too_short_ends_the_session() -> None:
    mailbox = FakeMailbox([1, 2, 3, 4], log_limit=1)
    client = Client(mailbox)
    for uid in (1, 2, 3):
        mailbox.expunge([uid])
    with pytest.raises(Goodbye):
        client.look()


def test_a_log_that_is_too_short_is_enough_for_what_is_loaded() -> None:
    mailbox = FakeMailbox([1, 2, 3, 4], log_limit=1)
    client = Client(mailbox)
    client.load_all()
    for uid in (1, 2, 3):
        mailbox.expunge([uid])
    assert client.look()[:3] == ["* 1 EXPUNGE\r\n"] * 3


def test_saved_uids_lose_what_is_removed() -> None:
    client = Client(FakeMailbox([1, 2, 3]))
    client.view.saved = [1, 3]
    client.mailbox.expunge([1])
    client.look()
    assert list(client.view.saved) == [3]


@given(
    st.sets(st.integers(1, 80), max_size=60), st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), max_size=5)
)
def test_uid_sets_mean_the_same_as_a_scan(uids: set[int], pairs: list[tuple[int, int]]) -> None:
    text = ",".join([f"{low}:{high}" for low, high in pairs] + ["*"])
    wanted = Cursor(text.encode()).sequence_set()
    client = Client(FakeMailbox(sorted(uids)))
    view = client.view
    last = view.blocks.last()
    if last is not None and has_star(wanted):
        client.load([last.number])
    bounds = uid_bounds(view, wanted)
    client.load(view.blocks.missing_between(bounds))
    largest = max(uids, default=0)
    expected = [
        place
        for place, uid in enumerate(sorted(uids))
        if uid == largest or any(min(pair) <= uid <= max(pair) for pair in pairs)
    ]
    positions = positions_of_uids(view, bounds)
    assert list(positions) == expected
    assert list(view.uids_at(positions)) == [sorted(uids)[place] for place in expected]


def test_flags_with_a_keyword_that_was_not_told_are_told_again_with_it() -> None:
    mailbox = FakeMailbox([1])
    client = Client(mailbox)
    client.load_all()
    mailbox.keywords = ("kw", "new")
    mailbox.change(1, 1 << 8 | 2 << 8)
    client.view.set_flags([(1, *mailbox.rows[1])])  # the answer of its own STORE
    assert client.view.fetch_lines([0], uid=False, modseq=False) == ["* 1 FETCH (FLAGS (kw))\r\n"]
    lines = client.look()
    assert lines[0] == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft kw new)\r\n"
    assert lines[2:] == ["* 1 FETCH (UID 1 FLAGS (kw new) MODSEQ (2))\r\n"]
    assert client.look() == []


def test_recent_follows_expunges() -> None:
    mailbox = FakeMailbox([1, 2, 3])
    client = Client(mailbox, first_recent=2)
    assert client.view.recent_count == 3  # as the outline tells it
    client.load_all()
    mailbox.expunge([1])
    assert client.look() == ["* 1 EXPUNGE\r\n"]
    mailbox.expunge([3])
    assert client.look() == ["* 2 EXPUNGE\r\n", "* 2 RECENT\r\n"]


class ViewMachine(RuleBasedStateMachine):
    """Random store changes, loads and looks in any order against a list."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = FakeMailbox(list(range(1, 50, 3)))
        self.client = Client(self.mailbox)

    def some(self, picks: list[int], among: list[int]) -> list[int]:
        return sorted({among[pick % len(among)] for pick in picks}) if among else []

    picks = st.lists(st.integers(0, 1000), min_size=1, max_size=20)

    @rule(count=st.integers(1, 12), gap=st.integers(0, 20))
    def arrive(self, count: int, gap: int) -> None:
        self.mailbox.arrive(count, gap)

    @rule(picks=picks)
    def expunge_elsewhere(self, picks: list[int]) -> None:
        if chosen := self.some(picks, sorted(self.mailbox.rows)):
            self.mailbox.expunge(chosen)

    @rule(picks=picks, vanished=st.booleans())
    def expunge_here(self, picks: list[int], vanished: bool) -> None:
        counted = [uid for uid in self.client.seen if uid in self.mailbox.rows]
        if chosen := self.some(picks, counted):
            self.client.remove_here(chosen, vanished=vanished)

    @rule(picks=picks, flags=st.integers(0, 31))
    def change(self, picks: list[int], flags: int) -> None:
        for uid in self.some(picks, sorted(self.mailbox.rows)):
            self.mailbox.change(uid, flags)

    @rule(picks=picks)
    def load_some(self, picks: list[int]) -> None:
        view = self.client.view
        positions = self.some(picks, list(range(view.count)))
        self.client.load(view.blocks.missing(positions))
        assert list(view.uids_at(positions)) == [self.client.seen[place] for place in positions]
        assert [view.index_of(uid) for uid in view.uids_at(positions)] == positions

    @rule()
    def forget(self) -> None:
        self.client.view.forget_messages()

    @rule(expunges=st.booleans(), vanished=st.booleans())
    def look(self, expunges: bool, vanished: bool) -> None:
        self.client.look(expunges=expunges, vanished=vanished)

    @rule()
    def look_and_compare(self) -> None:
        self.client.look()
        self.client.load_all()
        view = self.client.view
        everything = range(view.count)
        uids = list(view.uids_at(everything))
        assert uids == self.client.seen == sorted(self.mailbox.rows)
        assert list(view.flags_at(everything)) == [self.mailbox.rows[uid][0] for uid in uids]

    @precondition(lambda self: self.client.view.count)
    @rule(pick=st.integers(0, 1000))
    def one(self, pick: int) -> None:
        place = pick % self.client.view.count
        self.client.load(self.client.view.blocks.missing([place]))
        assert self.client.view.uid(place) == self.client.seen[place]

    @invariant()
    def counts_fit(self) -> None:
        assert self.client.view.count == len(self.client.seen)
        known = [uid for uid in self.client.seen if uid is not None]
        assert known == sorted(known)
        assert bisect_left(known, self.client.view.uidnext) == len(known)


TestView = ViewMachine.TestCase
TestView.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_rendered_flags_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selected, "_MAX_TEXTS", 4)
    texts = FlagTexts(("k",))
    assert [texts[flags] for flags in range(8)] == [FlagTexts(("k",))[flags] for flags in range(8)]
    assert len(texts) <= 4
