from __future__ import annotations

import pytest

from mailbox_app.proto.envelope import imap_nstring, imap_string, render_envelope


@pytest.mark.parametrize(
    ("value", "rendered"),
    [
        (b"", b'""'),
        (b"a\tb", b'"a\tb"'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        (b"\x01\x7f", b'"\x01\x7f"'),
        (b"a\r\nb", b"{4}\r\na\r\nb"),
        (b"\xc3\xb6", b"{2}\r\n\xc3\xb6"),
        (b"a\0b", b"{3}\r\na?b"),
        (b"x" * 1_001, b"{1001}\r\n" + b"x" * 1_001),
    ],
)
def test_strings_are_quoted_or_literals(value, rendered):
    assert imap_string(value) == rendered


def test_a_missing_string_is_nil():
    assert imap_nstring(None) == b"NIL"
    assert imap_nstring(b"NIL") == b'"NIL"'


def test_missing_fields_are_nil():
    assert render_envelope({}) == b"(" + b" ".join([b"NIL"] * 10) + b")"


def test_sender_and_reply_to_are_the_from_when_missing_or_empty():
    from_only = render_envelope({b"from": b"A <a@b>", b"sender": b"", b"reply-to": b" , "})
    assert from_only.count(b'(("A" NIL "a" "b"))') == 3
    other = render_envelope({b"from": b"A <a@b>", b"sender": b"c@d", b"reply-to": b"e@f"})
    assert other.startswith(b'(NIL NIL (("A" NIL "a" "b")) ((NIL NIL "c" "d")) ((NIL NIL "e" "f"))')


def test_groups_have_a_start_and_an_end():
    rendered = render_envelope({b"to": b"Team: a@b;"})
    assert b'((NIL NIL "Team" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL))' in rendered


def test_an_address_without_domain_is_no_group():
    assert b'((NIL NIL "bare" ""))' in render_envelope({b"to": b"bare"})


def test_encoded_words_stay_as_they_are():
    assert b'"=?utf-8?q?=C3=B6?="' in render_envelope({b"subject": b"=?utf-8?q?=C3=B6?="})


def test_a_source_route_is_told():
    envelope = render_envelope({b"from": b"<@route:user@domain>"})
    assert b'((NIL "@route" "user" "domain"))' in envelope
