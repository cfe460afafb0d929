"""LIST's patterns: `*` is anything, `%` anything without the delimiter. RFC 9051 6.3.9."""

from __future__ import annotations

from collections.abc import Iterable

DELIMITER = "/"


class Matcher:
    """One pattern. Time is bounded by name times pattern length, whatever the pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def matches(self, name: str) -> bool:
        """INBOX matches in any case, other names as they are."""
        if name == "INBOX" or name.startswith("INBOX/"):
            head, tail = self._pattern[:5], self._pattern[5:]
            if head.upper() == "INBOX":
                return _matches(name, "INBOX" + tail)
        return _matches(name, self._pattern)


def _matches(name: str, pattern: str) -> bool:
    """Walks the name once with the set of pattern positions that are still possible."""
    if pattern == "*":
        return True
    if "*" not in pattern and "%" not in pattern:
        return name == pattern
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
