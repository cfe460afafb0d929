from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.proto.sieve.glob import Glob
from mailbox_app.proto.sieve.matching import ascii_casemap, numeric, octet


def captured(pattern: str, text: str) -> list[str] | None:
    spans = Glob(pattern, octet).match(text)
    return None if spans is None else [text[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("pattern", "text", "wildcards"),
    [
        ("", "", []),
        ("", "a", None),
        ("*", "", [""]),
        ("?", "", None),
        ("a*c", "abc", ["b"]),
        ("a*c", "ac", [""]),
        ("a*ba", "aba", [""]),
        ("ab*ba", "aba", None),  # the ends may not share a character
        ("*b*", "abab", ["a", "ab"]),  # as little as possible
        ("*?", "ab", ["a", "b"]),
        ("?*?", "ab", ["a", "", "b"]),
        ("*??@x", "abc@x", ["a", "b", "c"]),
        ("**", "ab", ["", "ab"]),
        ("\\*", "*", []),
        ("\\*", "a", None),
        ("\\?\\\\", "?\\", []),
        ("a\\", "a\\", []),
        ("*op*", "klopfrop", ["kl", "frop"]),
    ],
)
def test_wildcards(pattern: str, text: str, wildcards: list[str] | None) -> None:
    assert captured(pattern, text) == wildcards


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?", max_size=9), st.text("ab", max_size=12))
def test_the_same_as_a_lazy_regular_expression(pattern: str, text: str) -> None:
    source = "".join({"*": "(.*?)", "?": "(.)"}.get(each, each) for each in pattern)
    found = re.fullmatch(source, text)
    assert captured(pattern, text) == (list(found.groups()) if found else None)


def test_many_stars_on_a_long_text_end_at_once() -> None:
    assert captured("*a" * 5_000 + "*b", "a" * 100_000) is None


def test_letters_of_ascii_only_are_folded() -> None:
    assert ascii_casemap("aZé") == "AZé"
    assert Glob("É*", ascii_casemap).match(ascii_casemap("éa")) is None


def test_numbers_are_compared_as_numbers_of_any_size() -> None:
    assert numeric("007x") == numeric("7")
    assert numeric("9" * 10_000) < numeric("1" + "0" * 10_000) < numeric("none") == numeric("")
