"""ORCPT in both its forms, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.smtp.commands import parse_rcpt
from mailbox_app.proto.smtp.orcpt import ascii_orcpt, orcpt_of, readable_orcpt


@pytest.mark.parametrize(
    ("orcpt", "readable"),
    [
        ("rfc822;bob+2Balias@example.org", "rfc822;bob+alias@example.org"),
        ("rfc822;plain@example.org", "rfc822;plain@example.org"),
        (r"utf-8;j\x{F6}rg@example.org", "utf-8;jörg@example.org"),
        ("utf-8;jörg@example.org", "utf-8;jörg@example.org"),
        (r"UTF-8;\x{1F600}\x{2B}@example.org", "UTF-8;😀+@example.org"),
        (r"utf-8;\x{D800}\x{110000}\x{}@x", r"utf-8;\x{D800}\x{110000}\x{}@x"),
        ("x400;+2FC=de", "x400;/C=de"),
        ("", ""),
    ],
)
def test_what_people_read(orcpt: str, readable: str) -> None:
    assert readable_orcpt(orcpt) == readable


def test_a_host_without_utf8_gets_code_points() -> None:
    assert ascii_orcpt("utf-8;jörg@example.org") == r"utf-8;j\x{F6}rg@example.org"
    assert ascii_orcpt("rfc822;a+2Bb@example.org") == "rfc822;a+2Bb@example.org"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_every_address_comes_back_and_is_a_parameter_that_servers_take(local: str) -> None:
    address = f"{local}@example.org"
    orcpt = orcpt_of(address)
    assert readable_orcpt(orcpt).partition(";")[2] == address
    assert ascii_orcpt(orcpt) == orcpt
    assert orcpt.isascii()
    assert parse_rcpt(f"TO:<x@example.org> ORCPT={orcpt}".encode(), smtputf8=False).orcpt == orcpt
