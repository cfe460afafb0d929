from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbox_app.proto.sieve.regex import BadPattern, Regex


def search(pattern: str, text: str, *, ignore_case: bool = False) -> list[str] | None:
    found = Regex(pattern, ignore_case=ignore_case).search(text, lambda steps: None)
    return None if found is None else list(found)


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("abc", "xabcy", ["abc"]),
        ("^abc$", "xabc", None),
        ("a|ab|abc", "abcd", ["abc"]),  # the longest, not the first, alternative
        ("(a*)(ab)*b*", "abb", ["abb", "a", ""]),
        ("(.*)-(.*)", "a-b-c", ["a-b-c", "a-b", "c"]),
        ("([0-9]{1,3}\\.){3}[0-9]+", "at 10.2.33.4!", ["10.2.33.4", "33."]),
        ("[]a]+", "x]a]", ["]a]"]),
        ("[^]a]+", "]ax-", ["x-"]),
        ("[a-]+", "b-a-", ["-a-"]),
        ("[[:alpha:]_]+", "1_éx", ["_éx"]),
        ("[[.-.]]", "a-", ["-"]),
        ("a{0}b", "aab", ["b"]),
        ("(a?)*", "aa", ["aa", "a"]),
        ("()", "x", ["", ""]),
        ("x*", "", [""]),
        ("\\[(dev|ops)\\]", "[ops]", ["[ops]", "ops"]),
        ("\\d+\\s\\w", "a 12 b", ["12 b"]),
        ("a.c", "a\nc", ["a\nc"]),
    ],
)
def test_the_leftmost_longest_match_counts(pattern: str, text: str, groups: list[str] | None) -> None:
    assert search(pattern, text) == groups


def test_case_can_be_ignored() -> None:
    assert search("straße [A-F]+", "STRAßE abcdef", ignore_case=True) == ["STRAßE abcdef"]
    assert search("[[:upper:]]", "a", ignore_case=True) == ["a"]
    assert search("[^a]", "A", ignore_case=True) is None
    assert search("[[:upper:]]", "a") is None


@pytest.mark.parametrize(
    "pattern",
    ["(", "a)", "[a", "[[:nope:]]", "*a", "a{2,1}", "a{300}", "a{x}", "\\", "\\q", "^*", "[b-a]", "(" * 60 + ")" * 60,
     "((a{200}){200}){200}", "()" * 51, "+", "a|*b", "[[.ab.]]"],
)  # fmt: skip
def test_what_is_no_pattern_is_said(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Regex(pattern, ignore_case=True)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 3_000 + "b"),
        ("(a|aa)+$", "a" * 3_000 + "b"),
        ("(a|a?)+$", "a" * 3_000 + "b"),
        ("(.*)*x", "." * 3_000),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 3_000),
        ("(a?){100}a{100}", "a" * 100 + "b"),
        ("([a-zA-Z0-9])+@x", "a" * 3_000),
    ],
)
def test_evil_patterns_take_time_in_proportion_to_text_and_pattern(pattern: str, text: str) -> None:
    work: list[int] = []
    regex = Regex(pattern, ignore_case=True)
    regex.search(text, work.append)
    assert sum(work) <= len(text) * regex.size + 16


def test_work_is_paid_for_while_it_is_done() -> None:
    class Broke(Exception):
        pass

    def spend(steps: int) -> None:
        raise Broke

    with pytest.raises(Broke):
        Regex("(a|b)*c", ignore_case=True).search("ab" * 100_000, spend)


_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\."])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{0,2}"])).map(lambda two: f"(?:{two[0]}){two[1]}"),
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(_ATOMS, _larger, max_leaves=6), st.text("ab.c", max_size=7))
def test_what_matches_is_what_the_standard_library_matches(pattern: str, text: str) -> None:
    ours = search(f"^({pattern.replace('?:', '')})$", text)
    assert (ours is not None) == (re.fullmatch(pattern, text) is not None)


@settings(max_examples=150, deadline=None)
@given(st.recursive(_ATOMS, _larger, max_leaves=6), st.text("ab.c", max_size=7), st.sampled_from(["{}", "^{}", "{}$"]))
def test_a_search_finds_what_the_standard_library_finds(pattern: str, text: str, place: str) -> None:
    ours = Regex(place.format("(" + pattern.replace("?:", "") + ")"), ignore_case=False)
    theirs = re.search(place.format(f"({pattern})").replace("$", r"\Z"), text)
    assert ours.matches(text, lambda steps: None) == (theirs is not None)
    found = ours.search(text, lambda steps: None)
    assert (found is None) == (theirs is None)
    if found is not None and theirs is not None and place != "{}$":
        assert len(found[0]) >= len(theirs[0])  # from the same place, the longest


def test_a_long_text_is_read_at_the_speed_of_a_loop() -> None:
    work: list[int] = []
    assert not Regex("(x|y)*z[0-9]+(abc)?$", ignore_case=True).matches("xyz" * 300_000, work.append)
    assert sum(work) < 5_000


def test_sets_of_states_are_forgotten_when_there_are_too_many() -> None:
    regex = Regex("(a|b)*a(a|b){14}c", ignore_case=False)
    text = "".join("ab"[(n * n // 7) % 2] for n in range(30_000))
    assert not regex.matches(text, lambda steps: None)
    assert regex.matches(text + "a" * 15 + "c", lambda steps: None)


@settings(max_examples=200, deadline=None)
@given(st.text("ab()[]{}*+?|^$\\.,-:0129", max_size=30), st.text("ab", max_size=50))
def test_any_pattern_is_read_or_refused(pattern: str, text: str) -> None:
    work: list[int] = []
    with contextlib.suppress(BadPattern):
        regex = Regex(pattern, ignore_case=True)
        regex.search(text, work.append)
        assert sum(work) <= 2 * (len(text) + 1) * regex.size + 16
