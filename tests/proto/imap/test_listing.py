"""LIST's, METADATA's and NOTIFY's arguments: read whole or refused, never anything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.listing import parse_list, parse_lsub
from mailbox_app.proto.imap.metadata import parse_getmetadata, parse_setmetadata
from mailbox_app.proto.imap.notify import parse_notify
from mailbox_app.proto.imap.status import parse_status

PARSERS = (parse_list, parse_lsub, parse_getmetadata, parse_setmetadata, parse_notify, parse_status)
WORDS = st.sampled_from(
    b'( ) " * % INBOX RETURN STATUS SUBSCRIBED RECURSIVEMATCH METADATA /shared/a NIL SET selected personal MESSAGES'
    b" MessageNew MessageExpunge NONE subtree {3}\r\nabc DEPTH 1 MAXSIZE".split(b" ")
)


@given(st.sampled_from(PARSERS), st.lists(WORDS, max_size=12), st.booleans())
def test_any_words_are_read_or_refused(parse: Callable[[Cursor], object], words: list[bytes], spaced: bool) -> None:
    cursor = Cursor(b" " + (b" " if spaced else b"").join(words))
    try:
        parse(cursor)
    except ProtocolError:
        return
    assert cursor.pos <= len(cursor.data)


def test_a_list_command_with_everything() -> None:
    listing = parse_list(
        Cursor(
            b' (SUBSCRIBED RecursiveMatch) "" (INBOX "a*") RETURN'
            b" (CHILDREN STATUS (MESSAGES UNSEEN) METADATA (/Shared/X) MYRIGHTS)"
        )
    )
    assert listing.patterns == ("INBOX", "a*")
    assert listing.selection == {"SUBSCRIBED", "RECURSIVEMATCH"}
    assert listing.returned == {"CHILDREN", "MYRIGHTS"}
    assert listing.status == ("MESSAGES", "UNSEEN")
    assert listing.entries == ("/shared/x",)


def test_a_basic_list_is_not_extended() -> None:
    assert not parse_list(Cursor(b' "" %')).is_extended
    assert parse_list(Cursor(b' "" ""')).asks_for_delimiter
    assert not parse_list(Cursor(b' "" "" RETURN ()')).asks_for_delimiter


@pytest.mark.parametrize(
    "text",
    [
        b' "" ' + b"%" * 2_000,
        b' "" (' + b" ".join([b"a"] * 200) + b")",
        b' "" a RETURN (METADATA (' + b" ".join([b"/shared/a"] * 60) + b"))",
    ],
)
def test_a_list_is_bounded(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_list(Cursor(text))


def test_names_come_in_nfc_in_either_encoding() -> None:
    decomposed = "Entwu\u0308rfe"
    assert parse_lsub(Cursor(b' "" Entwu&Awg-rfe')).patterns == ("Entw\u00fcrfe",)
    assert parse_lsub(Cursor(f' "" "{decomposed}"'.encode(), utf8=True)).patterns == ("Entw\u00fcrfe",)
    assert parse_lsub(Cursor(b' "" "a&b"', utf8=True)).patterns == ("a&b",)
    with pytest.raises(ProtocolError):
        parse_lsub(Cursor(b' "" "\xff"', utf8=True))
    with pytest.raises(ProtocolError):
        parse_lsub(Cursor(f' "" "{decomposed}"'.encode()))
