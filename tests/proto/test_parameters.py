from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.parameters import MAX_PARAMETERS, parse_parameters, strip_comments


@pytest.mark.parametrize(
    ("value", "main", "parameters"),
    [
        (b"text/plain", b"text/plain", []),
        (b"Text/PLAIN ; Charset=UTF-8", b"text/plain", [(b"charset", b"UTF-8")]),
        (b'a/b; x="a;b\\"c"; y = z', b"a/b", [(b"x", b'a;b"c'), (b"y", b"z")]),
        (b"a/b (comment; x=1); y=(in) z", b"a/b", [(b"y", b"z")]),
        (b'a/b; x="(no comment)"', b"a/b", [(b"x", b"(no comment)")]),
        (b"attachment; filename=my file.pdf", b"attachment", [(b"filename", b"my file.pdf")]),
        (b"a/b;; ; x=1;", b"a/b", [(b"x", b"1")]),
        (b'a/b; x="never closed', b"a/b", [(b"x", b"never closed")]),
        (b"a/b; broken; x=1", b"a/b", [(b"x", b"1")]),
        (b"", b"", []),
    ],
)
def test_parameters(value, main, parameters):
    found, pairs = parse_parameters(value)
    assert (found, list(pairs)) == (main, parameters)


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (b"a/b; x*0=one; x*1=two", [(b"x", b"onetwo")]),
        (b"a/b; x*1=two; y=1; x*0=one", [(b"x", b"onetwo"), (b"y", b"1")]),
        (b"a/b; x*0=one; x*2=lost", [(b"x", b"one")]),
        (b"a/b; x*=utf-8'de'%C3%A4", [(b"x*", b"utf-8'de'%C3%A4")]),
        (b"a/b; x*0*=utf-8''%C3; x*1*=%A4; x*2=\" b%\"", [(b"x*", b"utf-8''%C3%A4%20b%25")]),
        (b"a/b; x*1=lost", [(b"x", b"")]),
    ],
)
def test_continued_and_extended_parameters(value, parameters):
    assert list(parse_parameters(value)[1]) == parameters


def test_there_is_a_limit():
    assert len(parse_parameters(b"a/b" + b"; x=1" * 10_000)[1]) == MAX_PARAMETERS


@given(
    value=st.lists(
        st.sampled_from([b"a", b"=", b";", b'"', b"(", b")", b"*0", b"*", b"*1*", b"\\", b" ", b"\0", b"\xff", b"%"]),
        max_size=40,
    ).map(b"".join)
)
def test_any_bytes_have_parameters(value):
    _, pairs = parse_parameters(value)
    for name, content in pairs:
        assert isinstance(name, bytes)
        assert isinstance(content, bytes)


def test_reading_is_linear():
    # quadratic would take hours here
    for value in (
        b";" * 300_000,
        b"; " * 150_000,
        b"(" * 300_000,
        b'"' * 300_001,
        b";a" * 150_000,
        b"()" * 150_000,
        b";" + b" " * 300_000,
    ):
        parse_parameters(value)
        strip_comments(value)
