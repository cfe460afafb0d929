"""LIST's patterns: `*` is anything, `%` anything without the delimiter. RFC 9051 6.3.9."""

from __future__ import annotations

import re
from collections.abc import Iterable

DELIMITER = "/"
_FEW_WILDCARDS = 2
"""A regular expression takes time of this power of the name's length; patterns with more are walked."""
_MEANING = {"*": "(?s:.*)", "%": "[^/]*"}


class Matcher:
    """One pattern. Time is bounded by name times pattern length, whatever the pattern."""

    def __init__(self, pattern: str) -> None:
        head, tail = pattern[:5], pattern[5:]
        # `inbox` names INBOX, and `inboxes` a mailbox of that name
        self._of_inbox = "INBOX" + tail if head.upper() == "INBOX" else pattern
        self._pattern = pattern
        self._quick = re.compile(_expression(pattern)) if len(_wildcards(pattern)) <= _FEW_WILDCARDS else None

    def matches(self, name: str) -> bool:
        """INBOX matches in any case, other names as they are."""
        if name == "INBOX" or name.startswith("INBOX/"):
            return _matches(name, self._of_inbox)
        if self._quick is not None:
            return self._quick.fullmatch(name) is not None
        return _matches(name, self._pattern)

    def may_match_below(self, prefix: str) -> bool:
        """Whether names that begin so could match: a guess that is never wrongly no."""
        wildcards = _wildcards(self._pattern)
        fixed = self._pattern[: wildcards[0]] if wildcards else self._pattern
        return fixed.startswith(prefix) or prefix.startswith(fixed)


def _wildcards(pattern: str) -> list[int]:
    return [place for place, char in enumerate(pattern) if char in _MEANING]


def _expression(pattern: str) -> str:
    return "".join(_MEANING.get(char) or re.escape(char) for char in pattern)


def _matches(name: str, pattern: str) -> bool:
    """Walks the name once with the set of pattern positions that are still possible."""
    positions = _passed({0}, pattern)
    for char in name:
        following = set()
        for position in positions:
            if position == len(pattern):
                continue
            wanted = pattern[position]
            if wanted == "*" or (wanted == "%" and char != DELIMITER):
                following.add(position)
            elif wanted == char:
                following.add(position + 1)
        positions = _passed(following, pattern)
        if not positions:
            return False
    return len(pattern) in positions


def _passed(positions: Iterable[int], pattern: str) -> set[int]:
    """The positions, and those behind wildcards that stand for nothing."""
    found = set()
    for start in positions:
        position = start
        found.add(position)
        while position < len(pattern) and pattern[position] in "*%":
            position += 1
            found.add(position)
    return found


def above(name: str) -> list[str]:
    """The names above one, nearest first."""
    found = []
    name = name.rpartition(DELIMITER)[0]
    while name:
        found.append(name)
        name = name.rpartition(DELIMITER)[0]
    return found


def parents(names: Iterable[str]) -> set[str]:
    """Every name above one of these."""
    found: set[str] = set()
    for name in names:
        for parent in above(name):
            if parent in found:
                break
            found.add(parent)
    return found
