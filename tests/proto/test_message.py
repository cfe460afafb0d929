from __future__ import annotations

import email
import email.policy
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailbox_app.proto import message as message_module
from mailbox_app.proto.message import MessageScanner, Rendered, scan
from mailbox_app.proto.mime import PartTable
from tests.proto.imap_values import check_envelope, check_structure, read_value


def check_table(rendered: Rendered, size: int) -> PartTable:
    table = PartTable.decode(rendered.parts)
    for index in range(len(table)):
        part = table.part(index)
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= size
        parent = table.parent(part)
        if parent is None:
            assert index == 0
            assert (part.header_start, part.body_end) == (0, size)
        else:
            assert parent.index < index
            assert parent.body_start <= part.header_start
            assert part.body_end <= parent.body_end
        previous_end = part.body_start
        for number in range(1, min(part.children, 20) + 1):
            child = table.child(part, number)
            assert child is not None
            assert child.header_start >= previous_end
            previous_end = child.body_end
        assert table.child(part, part.children + 1) is None
    return table


def check_all(data: bytes) -> Rendered:
    rendered = scan(data)
    check_envelope(read_value(rendered.envelope))
    check_structure(read_value(rendered.bodystructure), extended=True)
    check_structure(read_value(rendered.body), extended=False)
    check_table(rendered, len(data))
    assert data.startswith(rendered.header)
    return rendered


def scan_in_pieces(data: bytes, sizes: list[int], **limits: int) -> Rendered:
    scanner = MessageScanner(**limits)
    position = 0
    with patch.object(message_module, "_BATCH_BYTES", 1):  # each piece is looked at when it comes
        while position < len(data):
            step = sizes[position % len(sizes)]
            scanner.feed(data[position : position + step])
            position += step
        return scanner.finish()


def structure(data: bytes) -> object:
    return read_value(check_all(data).bodystructure)


def message(content_type: str, body: str, *, header: str = "") -> bytes:
    return f"From: a@b.c\n{header}Content-Type: {content_type}\n\n{body}".replace("\n", "\r\n").encode()


# --- any bytes

_FRAGMENTS = [
    b"\r\n", b"\n", b"\r", b"--", b"b", b"--b", b"--b--", b"\r\n--b\r\n", b"\n--b\n", b"\r\n--b--\r\n", b"--c", b"\r\n--c\r\n",
    b"\r\n--b \t\r\n", b" ", b"\0", b"\xff", b'"', b"(", b")", b"\\", b"x", b";", b":", b",", b"<a@b>",
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/digest; boundary=\"c\"\r\n",
    b"Content-Type: multipart/mixed; boundary=\"b--\"\r\n", b"Content-Type: message/rfc822\r\n", b"Content-Type: text/html\r\n",
    b"Content-Type: multipart/mixed\r\n", b"Content-Type: a/b; x*0=1; x*1*=%41; y=\"q\\\"", b"From: a <b@c>, g: x@y;\r\n",
    b"Subject: =?utf-8?q?x?=\r\n", b"Content-Disposition: attachment; filename=x\r\n", b"Content-Language: de, en\r\n",
    b"Content-Transfer-Encoding: BASE64\r\n",
]  # fmt: skip
fragments = st.lists(st.sampled_from(_FRAGMENTS), max_size=40).map(b"".join)
_NESTED = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n--b\r\n\r\n--b--"
)


@given(data=st.one_of(st.binary(max_size=300), fragments, fragments.map(lambda rest: _FRAGMENTS[25] + rest)))
@example(b"")
@example(b"\r\n")
@example(b"Content-Type: multipart/mixed; boundary=b")
@example(_NESTED)
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_grammatical_values_and_nested_ranges(data):
    check_all(data)


@given(
    data=st.one_of(fragments, fragments.map(lambda rest: _FRAGMENTS[25] + rest)),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
@example(_NESTED, [1])
@settings(max_examples=400, deadline=None)
def test_the_cut_into_chunks_makes_no_difference(data, sizes):
    assert scan_in_pieces(data, sizes) == scan(data)
    assert scan_in_pieces(data, [1]) == scan(data)


@given(
    data=fragments.map(lambda rest: _FRAGMENTS[25] + rest), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5)
)
@settings(max_examples=200, deadline=None)
def test_the_cut_makes_no_difference_near_the_limits(data, sizes):
    limits = {"header_limit_bytes": 60, "max_parts": 4, "max_depth": 3}
    whole = scan_in_pieces(data, [len(data) + 1], **limits)
    assert scan_in_pieces(data, sizes, **limits) == whole
    check_structure(read_value(whole.bodystructure), extended=True)
    check_table(whole, len(data))


# --- what real messages look like


def test_a_plain_message():
    data = b"From: a@b.c\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\none\r\ntwo\r\n"
    rendered = check_all(data)
    assert rendered.bodystructure == b'("text" "plain" ("charset" "UTF-8") NIL NIL "7bit" 10 2 NIL NIL NIL NIL)'
    assert rendered.body == b'("text" "plain" ("charset" "UTF-8") NIL NIL "7bit" 10 2)'
    assert rendered.header == data[:-10]


@pytest.mark.parametrize(
    "declared", ["", "text", "/", "text/", "foo bar/baz", "multipart/mixed", 'multipart/mixed; boundary=""']
)
def test_a_missing_or_broken_type_is_plain_text(declared):
    assert structure(message(declared, "x"))[:3] == [b"text", b"plain", [b"charset", b"us-ascii"]]


def test_all_fields_of_a_part():
    header = (
        'Content-ID: <1@x>\nContent-Description: a "picture"\nContent-Transfer-Encoding: BASE64 (c)\n'
        'Content-Disposition: ATTACHMENT; filename="a b.png"; size=3\nContent-Language: de, en-GB\nContent-Location: http://x/\n'
    )
    assert structure(message("Image/PNG; Name=x", "AAAA\n", header=header)) == [
        b"image", b"png", [b"name", b"x"], b"<1@x>", b'a "picture"', b"base64", 6,
        None, [b"attachment", [b"filename", b"a b.png", b"size", b"3"]], [b"de", b"en-GB"], b"http://x/",
    ]  # fmt: skip


def test_a_multipart_with_preamble_and_epilogue():
    data = message(
        'multipart/mixed; boundary="a;b c"',
        "preamble\n--a;b c\n\none\n--a;b c \t\nContent-Type: text/html\n\n\n<p>\n\n--a;b c--\nepilogue\n--a;b c\n",
    )
    assert structure(data) == [
        [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 3, 0, None, None, None, None],
        [b"text", b"html", None, None, None, b"7bit", 7, 2, None, None, None, None],
        b"mixed", [b"boundary", b"a;b c"], None, None, None,
    ]  # fmt: skip
    table = PartTable.decode(scan(data).parts)
    part = table.find((2,))
    assert data[part.body_start : part.body_end] == b"\r\n<p>\r\n"
    assert data[part.header_start : part.body_start] == b"Content-Type: text/html\r\n\r\n"
    assert table.find((3,)) is None
    assert table.find((2, 1)) is None
    assert table.find((0,)) is None


def test_an_unterminated_multipart_and_inner_parts_ended_by_the_parents_boundary():
    body = "--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--a\n\ny"
    data = message("multipart/mixed; boundary=a", body)
    table = PartTable.decode(check_all(data).parts)
    assert [data[p.body_start : p.body_end] for p in (table.find((1, 1)), table.find((2,)))] == [b"x", b"y"]


def test_bare_line_feeds_are_line_ends():
    body = "--a\n\nx\n--a\n\ny\n--a--\n"
    strict = message("multipart/mixed; boundary=a", body)
    bare = strict.replace(b"\r\n", b"\n")
    assert structure(strict) == structure(bare)


def test_a_boundary_is_only_one_as_a_whole_line():
    data = message("multipart/mixed; boundary=a", "--a\n\nx --a\n--ab\n--a-\n--a--b\n --a\n--a--")
    assert len(PartTable.decode(check_all(data).parts)) == 2


def test_a_part_that_ends_within_its_header():
    data = message("multipart/mixed; boundary=a", "--a\nContent-Type: text/html\n--a\n\ny\n--a--\n")
    assert [part[:2] for part in structure(data)[:2]] == [[b"text", b"html"], [b"text", b"plain"]]


def test_a_multipart_without_parts_has_an_empty_one():
    data = message("multipart/mixed; boundary=a", "nothing\n")
    assert structure(data)[0][:8] == [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 0, 0]
    assert PartTable.decode(scan(data).parts).find((1,)).content_type == b"text/plain"


def test_a_message_in_a_message():
    inner = "From: x@y.z\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--i--\n"
    data = message("multipart/mixed; boundary=a", f"--a\nContent-Type: message/rfc822\n\n{inner}\n--a\n\nlast\n--a--\n")
    part = structure(data)[0]
    assert part[:2] == [b"message", b"rfc822"]
    assert part[7][1] == b"inner"
    assert part[7][2] == [[None, None, b"x", b"y.z"]]
    assert part[8][1] == b"mixed"
    assert part[9] == inner.count("\n")
    table = PartTable.decode(scan(data).parts)
    outer, first = table.find((1,)), table.find((1, 1))
    assert outer.is_message
    embedded = table.embedded(outer)
    assert data[embedded.header_start : embedded.body_start].startswith(b"From: x@y.z\r\n")
    assert data[first.body_start : first.body_end] == b"one"
    assert data[outer.body_start : outer.body_end] == inner.replace("\n", "\r\n").encode()


def test_part_numbers_of_a_message_that_is_no_multipart():
    data = message("text/plain", "x")
    table = PartTable.decode(scan(data).parts)
    assert table.find((1,)) == table.find(())
    assert table.find((1, 1)) is None
    forwarded = message("message/rfc822", "Subject: in\n\ntext")
    table = PartTable.decode(scan(forwarded).parts)
    assert table.find((1,)).is_message
    assert forwarded[table.find((1, 1)).body_start :] == b"text"
    assert table.find((1, 1, 1)) is None


def test_a_digest_holds_messages_unless_they_say_otherwise():
    body = "--a\n\nSubject: one\n\nx\n--a\nContent-Type: text/plain\n\ny\n--a--\n"
    parts = structure(message("multipart/digest; boundary=a", body))
    assert parts[0][:2] == [b"message", b"rfc822"]
    assert parts[0][7][1] == b"one"
    assert parts[1][:2] == [b"text", b"plain"]


def test_a_boundary_that_is_the_start_of_another():
    body = "--a\nContent-Type: multipart/mixed; boundary=a-\n\n--a-\n\nx\n--a---\n--a\n\ny\n--a--\n"
    data = message("multipart/mixed; boundary=a", body)
    assert [part[-4] if isinstance(part[0], list) else part[1] for part in structure(data)[:2]]
    assert len(PartTable.decode(scan(data).parts)) == 4


# --- sizes and limits


def test_a_hundred_thousand_parts_are_one_thousand():
    body = b"--a\r\n\r\nx\r\n" * 100_000 + b"--a--\r\n"
    data = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + body
    rendered = check_all(data)
    table = PartTable.decode(rendered.parts)
    assert len(table) == 1_000
    last = table.find((999,))
    assert last.content_type == b"application/octet-stream"
    assert last.body_end == len(data)


def test_ten_thousand_levels_are_fifty():
    levels = range(10_000)
    body = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in levels)
    table = PartTable.decode(check_all(body).parts)
    assert len(table) == 50
    assert table.find([1] * 49).content_type == b"application/octet-stream"
    messages = b"Content-Type: message/rfc822\r\n\r\n" * 10_000
    assert len(PartTable.decode(check_all(messages).parts)) == 50


def test_a_header_beyond_the_limit_is_still_listed_from_its_beginning():
    data = b"Subject: x\r\nX-Long: " + b"y" * 500_000 + b"\r\nTo: a@b.c\r\n\r\nbody\r\n"
    rendered = check_all(data)
    assert rendered.header == b""
    assert b'"x"' in rendered.envelope
    assert PartTable.decode(rendered.parts).find(()).body_start == len(data) - 6
    assert scan_in_pieces(data, [10_000]) == rendered


def test_very_many_addresses_are_bounded():
    data = b"To: " + b"a@b," * 60_000 + b"\r\nCc: x@y\r\n\r\n"
    assert scan(data).envelope.count(b'"a"') == 10_000
    many = b"--a\r\nContent-Type: message/rfc822\r\n\r\nTo: " + b"a@b," * 2_000 + b"\r\n\r\n"
    rendered = scan(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + many * 300)
    assert len(rendered.bodystructure) < 1_000_000


def test_the_scanner_keeps_nothing_of_a_body():
    scanner = MessageScanner()
    scanner.feed(b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n")
    for _ in range(20):
        scanner.feed(b"x" * 65_536)
        assert len(scanner._buffer) < 10
    scanner.feed(b"\r\n--" + b"-" * 100_000)
    assert len(scanner._buffer) < 10


# --- against the standard library

_leaf = st.sampled_from(["text/plain", "text/html; charset=utf-8", "image/png; name=x", "application/pdf"])
_text = st.lists(st.sampled_from(["", "line", "--x", "- dash", "--"]), max_size=4).map("\n".join)


@st.composite
def trees(draw, depth=0):
    kind = draw(st.sampled_from(["leaf", "leaf", "multipart", "message"])) if depth < 4 else "leaf"
    if kind == "leaf":
        return f"Content-Type: {draw(_leaf)}\n\n{draw(_text)}"
    if kind == "message":
        return f"Content-Type: message/rfc822\n\nSubject: s{depth}\n{draw(trees(depth + 1))}"
    boundary = f"b{depth}{draw(st.integers(0, 9))}"
    parts = draw(st.lists(trees(depth + 1), min_size=1, max_size=3))
    inside = "".join(f"\n--{boundary}\n{part}" for part in parts)
    return f'Content-Type: multipart/mixed; boundary="{boundary}"\n\npre{inside}\n--{boundary}--\n'


def shape_of(parsed):
    if parsed.get_content_type() == "message/rfc822":
        return ("message/rfc822", [shape_of(parsed.get_payload(0))])
    if parsed.is_multipart():
        return (parsed.get_content_type(), [shape_of(part) for part in parsed.get_payload()])
    return (parsed.get_content_type(), parsed.get_payload(decode=False))


def shape_from_table(table, part, data):
    kind = part.content_type.decode()
    if part.children:
        children = [table.child(part, number) for number in range(1, part.children + 1)]
        return (kind, [shape_from_table(table, child, data) for child in children])
    return (kind, data[part.body_start : part.body_end].decode())


@given(tree=trees())
@settings(max_examples=150, deadline=None)
def test_structure_and_bodies_agree_with_the_standard_library(tree):
    data = tree.replace("\n", "\r\n").encode()
    parsed = email.message_from_bytes(data, policy=email.policy.compat32)
    table = PartTable.decode(check_all(data).parts)
    assert shape_from_table(table, table.find(()), data) == shape_of(parsed)
