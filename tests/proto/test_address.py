from __future__ import annotations

from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import Address, parse_address, parse_address_list, parse_path
from mailbox_app.proto.address_list import MailAddress, parse_address_items


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("<a@b.c>", Address("a", "b.c"), ""),
        (" <A.b+c@B.C> SIZE=10 X", Address("A.b+c", "B.C"), "SIZE=10 X"),
        ("<>", None, ""),
        ("<> BODY=8BITMIME", None, "BODY=8BITMIME"),
        ("<@x.y,@z:a@b>", Address("a", "b"), ""),
        ('<"a b\\"c"@d.e>', Address('a b"c', "d.e"), ""),
        ('<"plain"@d.e>', Address("plain", "d.e"), ""),
        ("<a@[192.0.2.1]>", Address("a", "[192.0.2.1]"), ""),
        ("<a@[IPv6:2001:db8::1]>", Address("a", "[IPv6:2001:db8::1]"), ""),
        ("<Postmaster>", Address("Postmaster", ""), ""),
    ],
)
def test_paths(text, address, rest):
    assert parse_path(text, smtputf8=False) == (address, rest)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a@b.c", "no_brackets"),
        ("", "no_brackets"),
        ("<a>", "no_domain"),
        ("<a@>", "bad_domain"),
        ("<@b>", "bad_localpart"),
        ("<a@b", "bad_path"),
        ("<a@b>x", "bad_path"),
        ("<>x", "bad_path"),
        ("<a b@c>", "no_domain"),
        ("<.a@b>", "bad_localpart"),
        ("<a..b@c>", "no_domain"),
        ("<a@b..c>", "bad_path"),
        ("<a@-b>", "bad_domain"),
        ("<a@[x]>", "bad_domain"),
        ("<a\x00@b>", "no_domain"),
        ("<\x01@b>", "bad_localpart"),
        ('<"a\r\nb"@c>', "bad_localpart"),
        ("<" + "a" * 65 + "@b>", "too_long"),
        ("<a@" + ".".join(["b" * 60] * 5) + ">", "too_long"),
        ("<ä@b>", "not_ascii"),
        ("<a@ä>", "not_ascii"),
    ],
)
def test_paths_that_are_refused(text, code):
    with pytest.raises(ProtocolError) as caught:
        parse_path(text, smtputf8=False)
    assert caught.value.code == f"address.{code}"


def test_other_letters_with_smtputf8():
    assert parse_path("<jürgen@bücher.example> X", smtputf8=True) == (Address("jürgen", "bücher.example"), "X")
    assert not Address("jürgen", "x").is_ascii
    for text in ("<a\x85@b>", "<a\u2028@b>", "<\ud800@b>"):
        with pytest.raises(ProtocolError):
            parse_path(text, smtputf8=True)


def test_a_bare_address_is_read_whole():
    assert parse_address("a.b@c.d") == Address("a.b", "c.d")
    for text in ("", "a", "a@b c", "a@b>", "<a@b>", "a@b,c@d", "a@b\n"):
        with pytest.raises(ProtocolError):
            parse_address(text)


@given(local=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_any_localpart_is_written_so_that_it_reads_back(local):
    address = Address(local, "example.org")
    assert parse_address(str(address)) == address
    assert parse_path(f"<{address}>", smtputf8=False) == (address, "")


@given(text=st.text(max_size=60))
def test_any_text_is_an_address_or_a_protocol_error(text):
    for read in (parse_address, lambda text: parse_path(f"<{text}>", smtputf8=True)):
        try:
            read(text)
        except ProtocolError:
            continue


def test_lowered():
    assert Address("Alice", "EXAMPLE.org").lowered == Address("alice", "example.org")
    assert str(Address("postmaster", "")) == "postmaster"


# --- header lists

NONE = MailAddress(None, None, None)


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", []),
        (b" , ,", []),
        (b"a@b", [(None, b"a", b"b")]),
        (b"Alice  A. <a@b>, c@d", [(b"Alice A.", b"a", b"b"), (None, b"c", b"d")]),
        (b'"Dave, \\"D\\"" <d@e>', [(b'Dave, "D"', b"d", b"e")]),
        (b'"a" "b" <c@d>', [(b"a b", b"c", b"d")]),
        (b"a@b (Alice (the) first)", [(b"Alice (the) first", b"a", b"b")]),
        (b"Pete(A nice \\) chap) <pete(his)@silly.test(host)>", [(b"Pete", b"pete", b"silly.test")]),
        (
            b"g: a@b, C <c@d>;, e@f",
            [(None, b"g", None), (None, b"a", b"b"), (b"C", b"c", b"d"), NONE, (None, b"e", b"f")],
        ),
        (b"undisclosed-recipients:;", [(None, b"undisclosed-recipients", None), NONE]),
        (b"never: closed", [(None, b"never", None), (None, b"closed", b""), NONE]),
        (b"<@r1, @r2:c@d.e>", [(None, b"c", b"d.e", b"@r1,@r2")]),
        (b'"a b"@c', [(None, b"a b", b"c")]),
        (b"a . b @ c . d", [(None, b"a.b", b"c.d")]),
        (b"<a@[1.2.3.4]>", [(None, b"a", b"[1.2.3.4]")]),
        (b"bare", [(None, b"bare", b"")]),
        (b"X <bare>", [(b"X", b"bare", b"")]),
        (b"X <>", []),
        (b"x <a@b, c@d", [(b"x", b"a", b"b"), (None, b"c", b"d")]),
        (b"=?utf-8?q?J=C3=BC?= <j@x>", [(b"=?utf-8?q?J=C3=BC?=", b"j", b"x")]),
        (b"J\xc3\xbc <j\xc3\xbc@x>", [(b"J\xc3\xbc", b"j\xc3\xbc", b"x")]),
        (b"a@b\r\n ,\r\n\tc@d", [(None, b"a", b"b"), (None, b"c", b"d")]),
        (b"a@b;c@d", [(None, b"a", b"b"), (None, b"c", b"d")]),
        (b'"never closed', [(None, b"never closed", b"")]),
        (b"(never closed", []),
        (b")]>\\", [(None, b"]\\", b"")]),
    ],
)
def test_header_lists(value, items):
    assert parse_address_items(value) == [MailAddress(*item) for item in items]


def test_a_flat_list_has_the_groups_members_only():
    assert [item.localpart for item in parse_address_list(b"g: a@b, c@d;, e@f")] == [b"a", b"c", b"e"]


@given(
    value=st.lists(
        st.sampled_from(
            [b"a", b"@", b"<", b">", b",", b";", b":", b'"', b"(", b")", b"\\", b" ", b"\0", b"\xff", b"[", b"]", b"."]
        ),
        max_size=40,
    ).map(b"".join)
)
def test_any_bytes_are_a_list(value):
    items = parse_address_items(value)
    depth = 0
    for _, local, domain, _ in items:
        if domain is None:
            depth += 1 if local is not None else -1
            assert depth in (0, 1)
    assert depth == 0 or len(items) >= 10_000


names = st.text(st.sampled_from("abc.,;:<>@()'\" "), max_size=8)
atoms = st.text(st.sampled_from("abcxyz0-_+"), min_size=1, max_size=8)


@given(pairs=st.lists(st.tuples(names, atoms, atoms), min_size=1, max_size=5))
def test_well_formed_lists_agree_with_the_standard_library(pairs):
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name, _, _ in pairs]
    text = ", ".join(f'"{name}" <{local}@{domain}>' for name, (_, local, domain) in zip(quoted, pairs, strict=True))
    expected = [address for _, address in getaddresses([text])]
    found = [b"%b@%b" % (item.localpart, item.domain) for item in parse_address_list(text.encode())]
    assert [address.encode() for address in expected] == found
    assert [item.name or b"" for item in parse_address_list(text.encode())] == [
        name.strip().encode() for name, _, _ in pairs
    ]


def test_lists_are_read_in_linear_time():
    # quadratic would take hours here
    for value in (b"(" * 300_000, b'"' * 300_000, b"<" * 300_000, b"a@" * 150_000, b" " * 300_000, b"a " * 100_000 + b"<",
                  b"()" * 100_000, b"\\" * 300_000, b"a:" * 100_000, b"[" * 300_000):  # fmt: skip
        parse_address_items(value)
