from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.accounts.addresses import (
    canonical,
    check_account_address,
    check_alias_address,
    check_domain,
    check_target,
    without_detail,
)
from mailbox_app.errors import AccountError


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Example.ORG", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
    ],
)
def test_a_domain_is_stored_as_lower_case_a_labels(given_text: str, expected: str) -> None:
    assert check_domain(given_text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ".", "a..b", "-a.example", "a-.example", "a b.example", "1.2.3.4", "a/b", "x" * 64 + ".example", "é" * 300],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(AccountError) as error:
        check_domain(text)
    assert error.value.code == "account.bad_address"


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Alice@Example.org", "alice@example.org"),
        (" bob.smith+x@example.org ", "bob.smith+x@example.org"),
        ("JÜRGEN@example.org", "jürgen@example.org"),
        ("jürgen@example.org", "jürgen@example.org"),
    ],
)
def test_an_account_address_has_one_canonical_form(given_text: str, expected: str) -> None:
    assert check_account_address(given_text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "alice", "@example.org", "alice@", ".a@example.org", "a.@example.org", "a..b@example.org", "a b@example.org",
        "../x@example.org", "a/b@example.org", '"a"@example.org', "a\x00@example.org", "a\u202e@example.org",
        "x" * 65 + "@example.org",
    ],
)  # fmt: skip
def test_what_could_not_name_a_folder_safely_is_no_account(text: str) -> None:
    with pytest.raises(AccountError):
        check_account_address(text)


def test_an_alias_may_be_a_catch_all() -> None:
    assert check_alias_address("@Example.org") == "@example.org"


def test_the_local_part_of_an_outside_target_keeps_its_case() -> None:
    assert check_target("Bob@Elsewhere.NET") == "Bob@elsewhere.net"


@pytest.mark.parametrize("text", ["", "x", "@x.net", "a b@x.net", "a\r\nb@x.net", "a@x..net", "a\udc80@x.net"])
def test_a_malformed_target_is_refused(text: str) -> None:
    with pytest.raises(AccountError):
        check_target(text)


def test_a_detail_is_what_follows_the_first_plus_of_a_name() -> None:
    assert without_detail("alice+a+b") == "alice"
    assert without_detail("+a") == "+a"
    assert without_detail("alice") == "alice"


@given(st.text(max_size=100))
def test_looking_up_never_raises_and_settles_at_once(text: str) -> None:
    localpart, domain = canonical(text)
    assert canonical(f"{localpart}@{domain}") == canonical(f"{localpart}@{domain}")


@given(st.text(max_size=80))
def test_an_accepted_address_is_its_own_canonical_form(text: str) -> None:
    try:
        address = check_account_address(text)
    except AccountError:
        return
    assert check_account_address(address) == address
    assert "@".join(canonical(address)) == address
    assert "/" not in address
    assert not address.startswith(".")
