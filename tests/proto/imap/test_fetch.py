import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.fetch import PREVIEW_LAZY, Body, FetchRequest, Kind, parse_fetch
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.partial import Partial


def read(text: bytes) -> FetchRequest:
    cursor = Cursor(text)
    request = parse_fetch(cursor)
    cursor.end()
    return request


def labels(text: bytes) -> list[bytes]:
    return [item.label if isinstance(item, Body) else item.encode() for item in read(text).items]


def test_items_of_all_extensions() -> None:
    assert labels(b"(uid EMAILID THREADID SAVEDATE PREVIEW PREVIEW (LAZY) MODSEQ)") == [
        b"UID", b"EMAILID", b"THREADID", b"SAVEDATE", b"PREVIEW", PREVIEW_LAZY.encode(), b"MODSEQ",
    ]  # fmt: skip


def test_sections_are_labelled_as_they_are_answered() -> None:
    assert labels(b"(BODY.PEEK[1.2.mime]<3.4> BINARY.PEEK[1]<0.9> BINARY.SIZE[2] BINARY[] RFC822)") == [
        b"BODY[1.2.MIME]<3>", b"BINARY[1]<0>", b"BINARY.SIZE[2]", b"BINARY[]", b"RFC822",
    ]  # fmt: skip


def test_only_what_is_read_without_peek_sets_seen() -> None:
    assert read(b"BINARY[1]").sets_seen
    assert not read(b"(BINARY.PEEK[1] BINARY.SIZE[1] RFC822.HEADER PREVIEW)").sets_seen


def test_a_range_without_length_means_the_rest() -> None:
    (item,) = read(b"BINARY.PEEK[1]<40>").items
    assert isinstance(item, Body)
    assert (item.offset, item.count, item.decoded) == (40, None, True)


def test_binary_takes_section_texts() -> None:
    (item,) = read(b"BINARY.SIZE[2.HEADER.FIELDS (From)]").items
    assert isinstance(item, Body)
    assert (item.kind, item.size_only, item.names) == (Kind.FIELDS, True, (b"from",))


def test_modifiers_come_in_any_order() -> None:
    request = read(b"FLAGS (PARTIAL -1:-3 VANISHED CHANGEDSINCE 12)")
    assert (request.changed_since, request.vanished, request.partial) == (12, True, Partial(1, 3, True, "-1:-3"))
    assert read(b"PREVIEW (CHANGEDSINCE 5)").changed_since == 5


@pytest.mark.parametrize(
    "text",
    [
        b"", b"()", b"NOTHING", b"BODY[", b"BODY[0]", b"BODY[MIME]", b"BODY[1.]", b"BODY[]<1.0>", b"BINARY.SIZE[1]<0.1>",
        b"BODY[HEADER.FIELDS ()]", b"FLAGS (VANISHED)", b"FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)", b"FLAGS (PARTIAL 0:1)",
        b"FLAGS (PARTIAL 1:-1)", b"FLAGS (NOTHING)", b"FLAGS ()", b"PREVIEW (NOW)", b"FLAGS\xe4",
    ],
)  # fmt: skip
def test_wrong_syntax_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(text)


@pytest.mark.parametrize(
    ("first", "last", "count", "wanted"),
    [
        (1, 3, 10, [0, 1, 2]), (3, 1, 10, [0, 1, 2]), (9, 20, 10, [8, 9]), (11, 20, 10, []), (-1, -3, 10, [7, 8, 9]),
        (-3, -1, 2, [0, 1]), (-9, -5, 3, []), (-1, -1, 0, []),
    ],
)  # fmt: skip
def test_partial_ranges(first: int, last: int, count: int, wanted: list[int]) -> None:
    partial = read(b"FLAGS (PARTIAL %d:%d)" % (first, last)).partial
    assert partial is not None
    assert list(partial.window(count)) == wanted


WORDS = [b"BODY", b"BODY.PEEK", b"BINARY", b".SIZE", b"[", b"]", b"1", b".", b"MIME", b"HEADER.FIELDS", b" (", b")", b"<0", b".5>",
    b"FLAGS", b" ", b"(", b"PREVIEW", b"LAZY", b"CHANGEDSINCE 1", b"PARTIAL", b"-1:-2", b"\xff", b'"x"', b"{1}\r\ny"]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_nothing_but_a_protocol_error_comes_of_bad_input(words: list[bytes]) -> None:
    try:
        request = read(b"".join(words))
    except ProtocolError:
        return
    assert request.items
