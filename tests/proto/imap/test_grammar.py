from array import array
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap import mailbox_name, response
from mailbox_app.proto.imap.fetch import Body, Kind, parse_fetch
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.search import (
    And,
    BadCharset,
    Clock,
    Day,
    HasFlag,
    HeaderText,
    Not,
    Numbers,
    Or,
    Returns,
    When,
)
from mailbox_app.proto.imap.search_parser import parse_search
from mailbox_app.proto.imap.sequence import STAR, SequenceSet, compress, indexes_of_numbers, indexes_of_uids

READERS = [
    Cursor.tag, Cursor.atom, Cursor.astring, Cursor.string, Cursor.nstring, Cursor.mailbox, Cursor.list_mailbox,
    Cursor.number, Cursor.sequence_set, Cursor.flag, Cursor.flag_list, Cursor.store_flags, Cursor.date,
    Cursor.date_time, parse_fetch, parse_search,
]  # fmt: skip
WORDS = [
    b"(", b")", b" ", b'"', b"\\", b"{3}\r\n", b"{3+}\r\nabc", b"NOT", b"OR", b"BODY[", b"]", b"HEADER.FIELDS", b"1:*",
    b"1,2", b"<0.5>", b"FLAGS", b"UID", b"\\Seen", b"\x00", b"\xff", b"CHARSET", b"RETURN", b"SINCE", b"1-Jan-2026", b"99",
    b"ALL", b"MODSEQ", b"CHANGEDSINCE", b"KEYWORD", b"NIL", b"%", b"*", b"&", b"&-", b"&AOk-",
]  # fmt: skip


def whole(reader, data: bytes) -> None:
    cursor = Cursor(data)
    reader(cursor)
    cursor.end()


@given(st.sampled_from(READERS), st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS)).map(b"".join)))
def test_readers_raise_nothing_but_protocol_errors(reader, data) -> None:
    cursor = Cursor(data)
    try:
        reader(cursor)
    except ProtocolError:
        return
    assert 0 <= cursor.pos <= len(data)


@given(st.binary(max_size=40).filter(lambda raw: b"\0" not in raw))
def test_strings_survive_rendering_and_reading(raw: bytes) -> None:
    rest = b" rest"
    cursor = Cursor(response.string(raw) + rest)
    assert cursor.string() == raw
    assert cursor.data[cursor.pos :] == rest


@pytest.mark.parametrize("data", [b"a\x00b", b"\xc3\xa9", b"", b'"x', b"{5}\r\nabc", b'"a\x00"', b"{1}\r\n\x00"])
def test_bad_strings_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        whole(Cursor.astring, data)


def test_quoted_escapes() -> None:
    assert Cursor(rb'"a\"b\\c"').string() == b'a"b\\c'


def test_dates() -> None:
    assert Cursor(b"5-Jan-2026").date() == date(2026, 1, 5)
    assert Cursor(b'"05-jan-2026"').date() == date(2026, 1, 5)
    assert Cursor(b'" 5-Jan-2026 10:00:00 +0100"').date_time() == 1767603600
    for bad in (b"31-Feb-2026", b"5-Foo-2026", b'"5-Jan-2026'):
        with pytest.raises(ProtocolError):
            Cursor(bad).date()


# mailbox names
@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=30))
def test_names_survive_modified_utf7(name: str) -> None:
    encoded = mailbox_name.encode(name)
    assert encoded.isascii()
    assert mailbox_name.decode(encoded) == name


@given(st.binary(max_size=30))
def test_every_name_has_one_spelling(data: bytes) -> None:
    try:
        name = mailbox_name.decode(data)
    except ProtocolError:
        return
    assert mailbox_name.encode(name) == data or b"&" not in data


@pytest.mark.parametrize("data", [b"&", b"&AOk", b"&AGE-", b"a&b", b"\xff", b"&2AA-", b"&AOkA-"])
def test_names_in_no_canonical_form_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        mailbox_name.decode(data)


def test_known_name() -> None:
    assert mailbox_name.decode(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-") == "~peter/mail/台北/日本語"


# sequence sets
def test_sequence_set_positions() -> None:
    uids = array("I", [3, 5, 6, 9])
    assert list(indexes_of_uids(Cursor(b"4:6,9").sequence_set(), uids)) == [1, 2, 3]
    assert list(indexes_of_uids(Cursor(b"*:100").sequence_set(), uids)) == [3]
    assert list(indexes_of_uids(Cursor(b"1").sequence_set(), uids)) == []
    assert list(indexes_of_uids(Cursor(b"*").sequence_set(), array("I"))) == []
    assert indexes_of_numbers(Cursor(b"1:*").sequence_set(), 4) == range(4)
    assert list(indexes_of_numbers(Cursor(b"4,2:1,2").sequence_set(), 4) or ()) == [0, 1, 3]
    assert indexes_of_numbers(Cursor(b"5").sequence_set(), 4) is None
    assert indexes_of_numbers(Cursor(b"*").sequence_set(), 0) is None


@pytest.mark.parametrize("data", [b"0", b"1:", b":1", b"1,,2", b"4294967296", b"1:2:3", b"*0", b"1,", b""])
def test_bad_sequence_sets(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Cursor(data).sequence_set()


def test_too_many_ranges() -> None:
    with pytest.raises(ProtocolError):
        Cursor(b",".join([b"1"] * 100_001)).sequence_set()


@given(st.lists(st.integers(1, 60), max_size=30), st.sets(st.integers(1, 50), max_size=30))
def test_sets_mean_the_same_as_plain_sets(numbers: list[int], present: set[int]) -> None:
    uids = array("I", sorted(present))
    text = compress(numbers)
    if not text:
        return
    parsed = Cursor(text.encode()).sequence_set()
    assert [uids[i] for i in indexes_of_uids(parsed, uids)] == sorted(set(numbers) & present)


def test_star_is_kept_until_the_mailbox_is_known() -> None:
    assert Cursor(b"2:*").sequence_set() == SequenceSet(((2, STAR),))


# fetch
def test_fetch_items() -> None:
    assert parse_fetch(Cursor(b"all")).items == ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")
    request = parse_fetch(Cursor(b'(uid BODY.PEEK[1.2.HEADER.FIELDS (From "X y")]<5.10>) (CHANGEDSINCE 12)'))
    assert request.changed_since == 12
    assert request.items == (
        "UID",
        Body(b'BODY[1.2.HEADER.FIELDS (From "X y")]<5>', (1, 2), Kind.FIELDS, (b"from", b"x y"), True, 5, 10),
    )
    assert not request.sets_seen
    assert parse_fetch(Cursor(b"BODY[]")).sets_seen
    assert parse_fetch(Cursor(b"RFC822.HEADER")).sets_seen is False
    assert parse_fetch(Cursor(b"BODYSTRUCTURE")).items == ("BODYSTRUCTURE",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"()",
        b"BODY[1.]",
        b"BODY[0]",
        b"BODY[MIME]",
        b"BODY[",
        b"FOO",
        b"BODY[]<0>",
        b"BODY[]<0.0>",
        b"UIDX",
        b"BODY[1.FOO]",
    ],
)
def test_bad_fetch_items(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        whole(parse_fetch, data)


# search
def test_search_programs() -> None:
    assert parse_search(Cursor(b"ALL")).program == And(())
    assert parse_search(Cursor(b"OR UNSEEN (FROM x 1:3) NOT ON 1-Jan-2026")).program == And(
        (
            Or((Not(HasFlag("\\seen")), And((HeaderText(b"from", "x"), Numbers(SequenceSet(((1, 3),))))))),
            Not(Day(When.ON, date(2026, 1, 1), Clock.INTERNAL)),
        )
    )
    assert parse_search(Cursor(b"RETURN () ALL")).returns == Returns(frozenset({"ALL"}))
    assert parse_search(Cursor(b'MODSEQ "/flags/\\\\draft" all 620162338')).wants_modseq
    with pytest.raises(BadCharset):
        parse_search(Cursor(b"CHARSET KOI8-R TEXT x"))


def test_deep_and_wide_searches_are_refused() -> None:
    for data in (b"(" * 10_000 + b"ALL" + b")" * 10_000, b"NOT " * 10_000 + b"ALL", b" ".join([b"ALL"] * 6_000)):
        with pytest.raises(ProtocolError):
            parse_search(Cursor(data))
