from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.accounts.addresses import (
    canonical,
    check_account_address,
    check_alias_address,
    check_domain,
    check_separators,
    check_target,
    without_detail,
)
from mailbox_app.errors import AccountError
from mailbox_app.proto.domain_names import u_labels


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


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("βόλος.com", "xn--nxasmm1c.com"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_domains_are_stored_as_the_a_labels_of_2008(written: str, stored: str) -> None:
    assert check_domain(written) == stored
    assert canonical(f"ä@{written}") == ("ä", stored)
    assert check_domain(u_labels(stored)) == stored


@pytest.mark.parametrize(
    "text", ["-ü.example", "ü-.example", "üa--b.example", "☃.example", "ü" * 64 + ".example", "ü..example"]
)
def test_what_has_no_a_label_is_no_domain(text: str) -> None:
    with pytest.raises(AccountError):
        check_domain(text)


def test_only_true_u_labels_are_shown() -> None:
    assert u_labels("xn--bcher-kva.example") == "bücher.example"
    for odd in ("xn--abc.example", "xn--\x80.example", "xn--a-.example", "plain.example", "xn--99999999999"):
        assert u_labels(odd) == odd


@pytest.mark.parametrize("written", ["Jörg@example.org", "jo\u0308rg@example.org", "JÖRG@EXAMPLE.org"])
def test_local_parts_are_compared_in_nfc_and_lower_case(written: str) -> None:
    assert canonical(written) == ("jörg", "example.org")
    assert check_account_address(written) == "jörg@example.org"


def test_separators_are_a_few_characters_each_once() -> None:
    assert check_separators("+-+") == "+-"
    assert check_separators("") == ""
    for text in ("a", "@", " ", "+/"):
        with pytest.raises(AccountError):
            check_separators(text)
