"""Rights: what is shown, combined and in the end allowed. RFC 4314."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.acl import (
    ALL_RIGHTS,
    combined,
    effective,
    normal,
    parse_deleteacl,
    parse_setacl,
    shown,
)
from mailbox_app.proto.imap.grammar import Cursor

RIGHTS = st.text(ALL_RIGHTS, max_size=12).map(normal)


@given(RIGHTS, RIGHTS)
def test_granting_and_taking_away_are_set_operations(held: str, more: str) -> None:
    assert set(combined(held, "+", more)) == set(held) | set(more)
    assert set(combined(held, "-", more)) == set(held) - set(more)
    assert combined(held, "", more) == more


@given(RIGHTS, RIGHTS, RIGHTS, RIGHTS)
def test_what_is_taken_away_outweighs_what_is_granted(mine: str, all_: str, not_mine: str, not_all: str) -> None:
    entries = {"b@x": mine, "anyone": all_, "-b@x": not_mine, "-anyone": not_all, "c@x": ALL_RIGHTS}
    assert set(effective(entries, "b@x")) == (set(mine) | set(all_)) - set(not_mine) - set(not_all)


@given(RIGHTS)
def test_what_is_shown_may_be_given_back(rights: str) -> None:
    old = {"c": "k", "d": "xte"}
    tied = "".join(letters for letter, letters in old.items() if letter in shown(rights))
    assert normal(shown(rights)) == normal(rights + tied)
    assert ("c" in shown(rights)) == ("k" in rights)


@pytest.mark.parametrize("rights", ["lq", "L", "l r", "0"])
def test_an_unknown_right_is_refused(rights: str) -> None:
    with pytest.raises(ProtocolError):
        normal(rights)


@pytest.mark.parametrize("text", [b" a", b" a ", b" a b", b' a "" l', b" a - l", b' a "b c" l', b" a b lrz"])
def test_setacl_takes_a_mailbox_an_identifier_and_rights(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_setacl(Cursor(text))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_setacl, parse_deleteacl):
        try:
            change = parse(Cursor(b" " + data))
        except ProtocolError:
            continue
        assert set(change.rights) <= set(ALL_RIGHTS)
        assert change.identifier == change.identifier.lower()


def test_what_is_taken_from_one_is_not_given_to_an_account_whose_name_begins_with_a_minus() -> None:
    entries = {"-bob@example.org": "lrs", "anyone": "l"}
    assert effective(entries, "-bob@example.org") == "l"
    assert effective(entries, "bob@example.org") == ""
