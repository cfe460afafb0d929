"""LIST's patterns against a matcher that is too slow to be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbox_app.proto.imap.patterns import Matcher, above, parents

NAMES = st.text("aAbN/é", min_size=0, max_size=8)
PATTERNS = st.text("aAbN/é*%", min_size=0, max_size=8)


def naive(name: str, pattern: str) -> bool:
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first in "*%":
        ends = range(len(name) + 1) if first == "*" else range(len(name.partition("/")[0]) + 1)
        return any(naive(name[end:], rest) for end in ends)
    return name[:1] == first and naive(name[1:], rest)


@given(NAMES, PATTERNS)
def test_the_matcher_agrees_with_a_naive_one(name: str, pattern: str) -> None:
    assert Matcher(pattern).matches(name) == naive(name, pattern)


@given(st.text("ab/", max_size=4), st.text("ab/*%", max_size=6))
def test_what_may_not_match_below_a_prefix_does_not(rest: str, pattern: str) -> None:
    if Matcher(pattern).matches("ab" + rest):
        assert Matcher(pattern).may_match_below("ab")


@pytest.mark.parametrize(
    ("name", "pattern", "matches"),
    [
        ("INBOX", "inbox", True),
        ("INBOX", "InB%", False),
        ("INBOX", "IN*", True),
        ("INBOX/a", "inbox/%", True),
        ("INBOX", "inboxes", False),
        ("Inbox2", "inbox2", False),
        ("a/b/c", "a/%", False),
        ("a/b/c", "a/*", True),
        ("a", "a/*", False),
        ("a\nb", "a*b", True),
    ],
)
def test_inbox_in_any_case_and_others_as_they_are(name: str, pattern: str, matches: bool) -> None:
    assert Matcher(pattern).matches(name) is matches


def test_many_wildcards_take_no_long_time() -> None:
    assert not Matcher("%*" * 400 + "x").matches("a" * 200)


def test_parents_are_every_name_above() -> None:
    assert above("a/b/c") == ["a/b", "a"]
    assert parents(["a/b/c", "a/d", "e"]) == {"a", "a/b"}


def test_a_pattern_made_to_be_slow_is_not() -> None:
    name = "a" * 1_000
    pattern = Matcher("*a%a" * 250 + "b")
    assert not any(pattern.matches(name) for _ in range(200))  # minutes, place by place
