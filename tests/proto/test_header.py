from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.header import Header, decode_text, decode_words, header_end, unfold

pieces = st.lists(
    st.sampled_from(
        [b"A: b", b"X-Y:", b"\r\n", b"\n", b" ", b"\t", b":", b"\0", b"\xff", b"no colon", b"\r", b"From x"]
    ),
    max_size=30,
).map(b"".join)


def test_fields_keep_their_offsets_and_their_folding():
    block = b"From: a@b.c\r\nSubject : one\r\n\ttwo\r\n\r\n"
    header = Header.parse(block)
    assert [field.name for field in header.fields] == [b"From", b"Subject"]
    first, second = header.fields
    assert block[first.start : first.end] == b"From: a@b.c\r\n"
    assert block[second.start : second.end] == b"Subject : one\r\n\ttwo\r\n"
    assert second.value == b" one\r\n\ttwo"
    assert header.first(b"subject") == b"one\ttwo"


def test_several_fields_of_one_name():
    header = Header.parse(b"Received: a\r\nTo: x\r\nRECEIVED: b\r\n\r\n")
    assert header.all(b"received") == [b"a", b"b"]
    assert header.first(b"received") == b"a"
    assert header.count(b"received") == 2
    assert header.first(b"cc") is None
    assert header.all(b"cc") == []


def test_lines_that_are_no_fields_are_passed_over_with_their_continuations():
    header = Header.parse(
        b"From alice Mon Jan  1\r\n continued: x\r\nTo: a\r\nno colon\r\n: empty\r\nCc: b\n\nBody: x\r\n"
    )
    assert [field.key for field in header.fields] == [b"to", b"cc"]


def test_what_follows_the_empty_line_is_not_header():
    assert Header.parse(b"\r\nA: b\r\n").fields == []
    assert len(Header.parse(b"A: b\n\nC: d\r\n\r\n").fields) == 1


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b"\r\nx", 2),
        (b"\nx", 1),
        (b"A: b\r\n\r\nx", 8),
        (b"A: b\n\nx\r\n\r\n", 6),
        (b"A: b\n\r\nx\n\n", 7),
        (b"A: b\r\n", 6),
        (b"A: b\r\n \r\nC: d\r\n\r\n", 17),
    ],
)
def test_the_end_of_a_header(data, end):
    assert header_end(data) == end


@given(data=pieces)
def test_fields_lie_in_order_within_the_block_and_are_found_again(data):
    header = Header.parse(data)
    position = 0
    for field in header.fields:
        assert position <= field.start < field.end <= len(data)
        assert data[field.start :].startswith(field.name)
        assert field.key == field.name.lower()
        assert field.value in data[field.start : field.end]
        assert b"\n" not in unfold(field.value)
        position = field.end


def test_reading_is_linear_for_lines_without_colon_and_for_continuations():
    # quadratic would take hours here
    Header.parse(b"x" * 1_000_000)
    Header.parse(b"A: b" + b"\n " * 500_000)
    Header.parse(b"\n".join([b"x y"] * 200_000))
    Header.parse(b"a" * 500_000 + b" " * 500_000)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b" a\r\n b ", "a b"),
        (b"=?utf-8?q?w=C3=B6rld?=", "wörld"),
        (b"=?UTF-8?B?w7Y=?= =?iso-8859-1?Q?=F6_x?=", "öö x"),
        (b"=?utf-8?B?w7Y?=", "ö"),
        (b"=?iso-8859-1*de?q?=E4?= b", "ä b"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?nonsense?q?abc?=", "abc"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?utf-8?q?abc", "=?utf-8?q?abc"),
        (b"=?punycode?q?a-b?=", "a-b"),
        (b"=?base64_codec?q?YWI=3D?=", "YWI="),
        (b"\xc3\xb6", "ö"),
        (b"\xf6", "ö"),
        (b"=?utf-8?q?=00=1B[31m=0D=0Ax?=", "[31mx"),
        (b"=?utf-8?q?=E2=80=AEevil?=", "evil"),
    ],
)
def test_encoded_words(value, text):
    assert decode_words(value) == text


@given(value=st.one_of(st.binary(max_size=100), st.binary(max_size=30).map(lambda raw: b"=?utf-8?b?" + raw + b"?=")))
def test_decoding_never_fails_and_never_yields_control_characters(value):
    assert all(ord(character) >= 32 for character in decode_words(value))


@given(raw=st.binary(max_size=50), charset=st.text(max_size=20))
def test_text_in_any_charset_is_text(raw, charset):
    assert isinstance(decode_text(raw, charset), str)
