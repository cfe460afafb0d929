import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.partial import Partial
from mailbox_app.proto.imap.search import (
    And,
    ChangedSince,
    HasFlag,
    Not,
    Numbers,
    ObjectId,
    Or,
    Text,
    Uids,
    Within,
)
from mailbox_app.proto.imap.search_parser import (
    Source,
    parse_multi_search,
    parse_search,
    parse_sort,
    parse_thread,
)
from mailbox_app.proto.imap.sequence import SequenceSet

SAVED = SequenceSet((), saved=True)
WORDS = [
    b"RETURN", b"(", b")", b" ", b" ", b" ", b"ALL", b"SAVE", b"PARTIAL", b"-1:-5", b"1:5", b"CHARSET", b"UTF-8", b"OR", b"NOT",
    b"$", b"UID", b"1:*", b"SUBJECT", b"x", b'"', b"OLDER", b"60", b"EMAILID", b"SAVEDON", b"1-Jan-2026", b"DATE", b"REVERSE",
    b"REFERENCES", b"IN", b"subtree", b"mailboxes", b"INBOX", b"MODSEQ", b"\x00", b"\xff", b"{1}\r\nx", b"COUNT", b"ARRIVAL",
]  # fmt: skip


def program(text: bytes) -> object:
    return parse_search(Cursor(text)).program


def test_keys() -> None:
    assert program(b"$") == Numbers(SAVED)
    assert program(b"UID $") == Uids(SAVED)
    assert program(b"older 60") == Within(younger=False, seconds=60)
    assert program(b"THREADID T1") == ObjectId(b"T1", thread=True)
    assert program(b"OR SEEN OR DELETED OR DRAFT 3") == Or(
        (HasFlag("\\seen"), HasFlag("\\deleted"), HasFlag("\\draft"), Numbers(SequenceSet(((3, 3),))))
    )
    assert program(b'(NOT (MODSEQ "/flags/x" priv 7))') == Not(ChangedSince(7))
    assert program(b"TEXT {3}\r\na b SAVEDATESUPPORTED") == And((Text("a b", body_only=False), And(())))


def test_a_chain_of_ors_may_be_long_but_not_deep() -> None:
    assert len(program(b"OR ALL " * 2_000 + b"ALL").keys) == 2_001  # type: ignore[attr-defined]
    with pytest.raises(ProtocolError):
        program(b"OR " * 2_000 + b"ALL " * 2_000 + b"ALL")


@pytest.mark.parametrize("opening", [b"(", b"NOT ", b"NOT (", b"OR ALL NOT ", b"OR "])
def test_ten_thousand_deep_is_refused(opening: bytes) -> None:
    with pytest.raises(ProtocolError):
        program(opening * 10_000 + b"ALL")


def test_partial_windows() -> None:
    def window(text: bytes, count: int) -> list[int]:
        returns = parse_search(Cursor(b"RETURN (PARTIAL " + text + b") ALL")).returns
        assert returns is not None
        assert returns.partial is not None
        return list(returns.partial.window(count))

    assert window(b"1:3", 10) == [0, 1, 2]
    assert window(b"3:1", 2) == [0, 1]
    assert window(b"4:9", 3) == []
    assert window(b"-1:-3", 10) == [7, 8, 9]
    assert window(b"-9:-2", 3) == [0, 1]
    assert window(b"-4:-9", 3) == []


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 30), st.booleans())
def test_a_window_is_what_counting_gives(low: int, high: int, count: int, last: bool) -> None:
    low, high = sorted((low, high))
    places = [place for place in range(count) if low <= (count - place if last else place + 1) <= high]
    assert list(Partial(low, high, last, "").window(count)) == places


def test_texts_without_end_are_refused() -> None:
    parse_search(Cursor(b"TEXT a " * 499 + b"BODY b"))
    with pytest.raises(ProtocolError):
        parse_search(Cursor(b"TEXT a " * 500 + b"BODY b"))


def test_sources() -> None:
    request = parse_multi_search(Cursor(b'IN (selected subtree ("a" b) mailboxes inbox) RETURN (COUNT) UNSEEN'))
    assert [(each.source, each.names) for each in request.sources] == [
        (Source.SELECTED, ()),
        (Source.SUBTREE, ("a", "b")),
        (Source.MAILBOXES, ("INBOX",)),
    ]
    assert parse_multi_search(Cursor(b"UNSEEN")).sources[0].source is Source.SELECTED


@pytest.mark.parametrize(
    "text",
    [
        b"RETURN (SAVE", b"RETURN ALL ALL", b"RETURN (PARTIAL 1:*) ALL", b"RETURN (PARTIAL 1:2:3) ALL", b"OR ALL", b"NOT", b"",
        b"RETURN (PARTIAL 1:9999999999) ALL", b"UID", b"EMAILID \"\"", b"OLDER -1", b"SAVEDON 40-Jan-2026", b"ALL  ALL", b"() ALL",
    ],
)  # fmt: skip
def test_bad_programs(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_search(Cursor(text))


@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join), st.binary(max_size=40)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_search, parse_sort, parse_thread, parse_multi_search):
        try:
            parse(Cursor(data))
        except ProtocolError:
            continue
