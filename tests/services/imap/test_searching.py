"""Searches against a plain evaluator, over mailboxes of several small blocks."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.search import (
    And,
    ChangedSince,
    Clock,
    Day,
    HasFlag,
    HeaderText,
    Key,
    Not,
    Numbers,
    Or,
    Size,
    Text,
    Uids,
    When,
    Within,
)
from mailbox_app.proto.imap.search_parser import Criterion, SortKey, parse_search
from mailbox_app.proto.imap.sequence import STAR, SequenceSet
from mailbox_app.proto.text.folding import fold
from mailbox_app.services.imap.ordering import Sorting
from mailbox_app.services.imap.searching import Search
from mailbox_app.services.imap.selected import SYSTEM_FLAGS
from tests.support.searched_mailbox import Mail, SearchedMailbox

DAY = 86_400
NOW = 40 * DAY
KEYWORDS = ("Work", "urgent")
WORDS = ["apple", "Apple pie", "pear", "x", ""]
NEEDLES = ["apple", "PIE", "pea", "ap", "zebra", "", "le p"]


def mail(uid: int, flags: int, day: int, subject: str, body: str) -> Mail:
    data = f"Subject: {subject}\r\nDate: Thu, {day % 27 + 1:02} Jan 1970 23:00:00 -0300\r\n\r\n{body}\r\n".encode()
    return Mail(uid, flags, uid * 3 % 50 + 1, day * DAY + 7, data, day * DAY + DAY)


mailboxes = st.dictionaries(
    st.integers(1, 60),
    st.tuples(
        st.sampled_from([0, 1, 1, 2, 5, 256, 513]), st.integers(0, 30), st.sampled_from(WORDS), st.sampled_from(WORDS)
    ),
    max_size=24,
).map(lambda mails: [mail(uid, *values) for uid, values in sorted(mails.items())])
sets = st.lists(
    st.tuples(st.one_of(st.integers(1, 60), st.just(STAR)), st.one_of(st.integers(1, 60), st.just(STAR))),
    min_size=1,
    max_size=3,
).map(lambda ranges: SequenceSet(tuple(ranges)))
days = st.integers(1, 28).map(lambda day: date(1970, 1, day))
leaves: st.SearchStrategy[Key] = st.one_of(
    st.sampled_from(["\\seen", "\\answered", "\\flagged", "work", "URGENT", "never"]).map(HasFlag),
    sets.map(Numbers),
    sets.map(Uids),
    st.builds(Size, st.booleans(), st.integers(60, 90)),
    st.builds(Day, st.sampled_from(When), days, st.sampled_from(Clock)),
    st.builds(Within, st.booleans(), st.integers(1, 40 * DAY)),
    st.builds(HeaderText, st.sampled_from([b"subject", b"date", b"cc"]), st.sampled_from(NEEDLES)),
    st.builds(Text, st.sampled_from(NEEDLES), st.booleans()),
    st.builds(ChangedSince, st.integers(1, 60)),
)
programs = st.recursive(
    leaves,
    lambda keys: st.one_of(
        st.lists(keys, max_size=3).map(lambda some: And(tuple(some))),
        st.lists(keys, min_size=2, max_size=3).map(lambda some: Or(tuple(some))),
        keys.map(Not),
    ),
    max_leaves=8,
)


def matches(key: Key, one: Mail, number: int, mails: list[Mail]) -> bool:
    """What the key says about one message, taken at its word."""
    header, _, body = one.data.decode().partition("\r\n\r\n")
    match key:
        case And():
            return all(matches(each, one, number, mails) for each in key.keys)
        case Or():
            return any(matches(each, one, number, mails) for each in key.keys)
        case Not():
            return not matches(key.key, one, number, mails)
        case HasFlag():
            names = [name.lower() for name in KEYWORDS]
            bit = SYSTEM_FLAGS.get(key.flag) or (
                256 << names.index(key.flag.lower()) if key.flag.lower() in names else 0
            )
            return bool(one.flags & bit)
        case Numbers():
            return any(low <= number <= high for low, high in key.wanted.bounds(len(mails)))
        case Uids():
            return any(low <= one.uid <= high for low, high in key.wanted.bounds(mails[-1].uid))
        case Size():
            return len(one.data) > key.size_bytes if key.larger else len(one.data) < key.size_bytes
        case Day():
            seconds = one.saved_seconds if key.clock is Clock.SAVED else one.internal_seconds
            day = datetime.fromtimestamp(seconds, UTC).date()
            if key.clock is Clock.SENT:
                day = date(1970, 1, int(header.split("Thu, ")[1][:2]))
            return {When.BEFORE: day < key.day, When.ON: day == key.day, When.SINCE: day >= key.day}[key.when]
        case Within():
            age = NOW - one.internal_seconds
            return age <= key.seconds if key.younger else age >= key.seconds
        case HeaderText():
            fields = Header.parse(one.data).fields
            return any(field.key == key.name and fold(key.text) in fold(decode_words(field.value)) for field in fields)
        case Text():
            text = body if key.body_only else f"{header}\r\n\r\n{body}"
            return fold(key.text) in fold(text).replace("\r", "")
        case ChangedSince():
            return one.modseq >= key.modseq
        case _:
            raise AssertionError(key)


@given(mailboxes, programs, st.integers(0, 70), st.booleans())
def test_a_search_finds_what_matches(mails: list[Mail], program: Key, indexed_below: int, loaded: bool) -> None:
    box = SearchedMailbox(mails, KEYWORDS, indexed_below)
    view = box.view()
    if loaded:
        view.fill(box.blocks(view.mailbox_id, view.blocks.missing(None), view.highest_modseq, view.uidnext))  # type: ignore[arg-type]
    expected = [place for place, one in enumerate(mails) if matches(program, one, place + 1, mails)]
    search = Search(view, program, box.places(NOW))
    if loaded and search.runs_on_loop(needs_arrays=True):
        box.blocks_read.clear()
    positions: list[int] = []
    uids: list[int] = []
    for hits in search.run(uids=True):
        positions += hits.positions
        uids += hits.uids
    assert positions == expected
    assert uids == [mails[place].uid for place in expected]
    assert search.done_count == len(mails)


@given(mailboxes, programs, st.integers(1, 4), st.booleans())
def test_a_limited_search_finds_the_ends(mails: list[Mail], program: Key, limit: int, backwards: bool) -> None:
    box = SearchedMailbox(mails, KEYWORDS)
    expected = [place for place, one in enumerate(mails) if matches(program, one, place + 1, mails)]
    batches = [list(hits.positions) for hits in _search(box, program).run(limit=limit, backwards=backwards)]
    found = [place for batch in (reversed(batches) if backwards else batches) for place in batch]
    assert found == (expected[-limit:] if backwards else expected[:limit])


def _search(box: SearchedMailbox, program: Key) -> Search:
    return Search(box.view(), program, box.places(NOW))


def _found(box: SearchedMailbox, text: bytes) -> list[int]:
    search = _search(box, parse_search(Cursor(text)).program)
    return [position + 1 for hits in search.run() for position in hits.positions]


@pytest.fixture
def box() -> SearchedMailbox:
    """Six full blocks; in one of them unseen mail, in one of them apples."""
    mails = [mail(uid, 0 if 16 <= uid < 24 else 1, 1, "pear", "apple" if uid == 33 else "plum") for uid in range(8, 56)]
    return SearchedMailbox(mails, KEYWORDS, indexed_below=100)


def test_unseen_reads_only_the_block_that_has_some(box: SearchedMailbox) -> None:
    assert _found(box, b"UNSEEN") == list(range(9, 17))
    assert box.blocks_read == []
    assert _found(box, b"UNSEEN NOT FLAGGED") == list(range(9, 17))
    assert box.blocks_read == [2]


def test_sets_read_only_their_blocks(box: SearchedMailbox) -> None:
    assert _found(box, b"2:3 NOT FLAGGED") == [2, 3]
    assert box.blocks_read == [1]
    box.blocks_read.clear()
    assert _found(box, b"UID 54:* NOT FLAGGED") == [47, 48]
    assert box.blocks_read == [6]


def test_indexed_text_reads_only_candidates(box: SearchedMailbox) -> None:
    assert _found(box, b"BODY apple") == [26]
    assert (box.blocks_read, box.texts_read) == ([4], [33])
    box.texts_read.clear()
    assert len(_found(box, b"NOT TEXT apple")) == 47
    assert box.texts_read == [33]
    assert _found(box, b"OR SUBJECT zebra TEXT zebra") == []
    assert box.headers_read == 0


def test_what_is_not_indexed_is_read(box: SearchedMailbox) -> None:
    late = SearchedMailbox(list(box.mails.values()), indexed_below=50)
    assert _found(late, b"BODY apple") == [26]
    assert late.texts_read == [33, *range(50, 56)]


def test_a_message_that_went_away_is_not_found(box: SearchedMailbox) -> None:
    search = _search(box, parse_search(Cursor(b"NOT BODY pl")).program)
    box.open_message = _gone(box)  # type: ignore[method-assign]
    assert [hits for hits in search.run() if 32 in hits.positions] == []
    assert search.done_count == 48


def _gone(box: SearchedMailbox):  # type: ignore[no-untyped-def]
    usual = box.open_message

    def open_message(mailbox_id, uid):  # type: ignore[no-untyped-def]
        if uid == 40:
            box.mails.pop(40, None)
        return usual(mailbox_id, uid)

    return open_message


def test_thousands_of_keys_are_no_work_for_the_loop() -> None:
    box = SearchedMailbox([])
    few, many = (_search(box, parse_search(Cursor(b" ".join([b"SEEN"] * count))).program) for count in (100, 4_000))
    assert few.runs_on_loop(needs_arrays=False)
    assert not many.runs_on_loop(needs_arrays=False)


def test_a_hundred_thousand_ranges(box: SearchedMailbox) -> None:
    wanted = SequenceSet(tuple((number, number) for number in range(1, 200_001, 2)))
    for key, first in ((Numbers(wanted), 1), (Uids(wanted), 2)):
        found = [place + 1 for hits in _search(box, key).run() for place in hits.positions]
        assert found == list(range(first, 49, 2))


@given(
    mailboxes,
    st.lists(
        st.builds(
            Criterion, st.sampled_from([SortKey.ARRIVAL, SortKey.DATE, SortKey.SIZE, SortKey.SUBJECT]), st.booleans()
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_sorting_is_what_comparing_all_keys_gives(mails: list[Mail], criteria: list[Criterion]) -> None:
    box = SearchedMailbox(mails)
    sorting = Sorting(box.places().mail, box.view(), criteria)
    for _ in sorting.run([each.uid for each in mails]):
        pass

    def rank(key: SortKey, one: Mail) -> object:
        header = one.data.decode().split("\r\n")
        return {
            SortKey.ARRIVAL: one.internal_seconds,
            SortKey.SIZE: len(one.data),
            SortKey.DATE: header[1][11:13],
            SortKey.SUBJECT: header[0][9:].upper(),
        }[key]

    expected = list(range(len(mails)))
    for criterion in reversed(criteria):
        expected.sort(key=lambda place: rank(criterion.key, mails[place]), reverse=criterion.reverse)
    assert list(sorting.order) == expected
