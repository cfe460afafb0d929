from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.tlsa import Tlsa, parse_tlsa, public_key_info, usable_records
from tests.support.certificates import certify

A, B = "aa" * 32, "bb" * 64
SERVER = certify("mx.there.example")


@pytest.mark.parametrize(
    ("text", "record"),
    [
        (f"3 1 1 {A}", Tlsa(3, 1, 1, bytes.fromhex(A))),
        ("3 1 1 " + "aa " * 32, Tlsa(3, 1, 1, bytes.fromhex(A))),
        ("2 0 0 3003020101", Tlsa(2, 0, 0, bytes.fromhex("3003020101"))),
    ],
)
def test_records_are_read(text: str, record: Tlsa) -> None:
    assert parse_tlsa(text) == record
    assert parse_tlsa(str(record)) == record


@pytest.mark.parametrize("text", ["", "3 1 1", "3 1 1 a", "256 1 1 aa", "x 1 1 aa", "3 1 1 zz", "3 1 aa"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_tlsa(text)


@pytest.mark.parametrize(
    ("text", "usable"),
    [(f"3 1 1 {A}", True), (f"2 0 2 {B}", True), ("3 0 0 00", True), (f"0 0 1 {A}", False), (f"1 1 1 {A}", False),
     (f"4 1 1 {A}", False), (f"3 2 1 {A}", False), (f"3 1 3 {A}", False), (f"3 1 1 {B}", False), (f"3 1 2 {A}", False)],
)  # fmt: skip
def test_only_records_for_mail_servers_with_whole_digests_are_usable(text: str, usable: bool) -> None:
    assert bool(usable_records([text])) is usable


def test_of_two_digests_of_one_kind_the_stronger_counts() -> None:
    """RFC 7671 9."""
    found = usable_records([f"3 1 1 {A}", f"3 1 2 {B}", f"3 0 1 {A}", f"2 1 1 {A}", "3 1 0 00", "nonsense"])
    assert [(one.usage, one.selector, one.matching) for one in found] == [(3, 1, 2), (3, 0, 1), (2, 1, 1), (3, 1, 0)]


def test_a_record_matches_what_it_speaks_of() -> None:
    assert public_key_info(SERVER.der) == SERVER.public_key
    for selector, said in ((0, SERVER.der), (1, SERVER.public_key)):
        assert Tlsa(3, selector, 0, said).matches(SERVER.der)
        assert Tlsa(3, selector, 1, hashlib.sha256(said).digest()).matches(SERVER.der)
        assert Tlsa(3, selector, 2, hashlib.sha512(said).digest()).matches(SERVER.der)
        assert not Tlsa(3, 1 - selector, 1, hashlib.sha256(said).digest()).matches(SERVER.der)


@given(st.integers(0, 5000), st.integers(0, 255))
def test_a_damaged_certificate_raises_only_our_error(place: int, octet: int) -> None:
    damaged = bytearray(SERVER.der)
    damaged[place % len(damaged)] = octet
    for data in (bytes(damaged), SERVER.der[: place % len(SERVER.der)]):
        try:
            assert public_key_info(data) in data
        except ProtocolError:
            continue


@given(st.text(max_size=200))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    usable_records([text, f"3 1 1 {text}"])
