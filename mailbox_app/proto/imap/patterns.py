"""LIST's patterns: `*` is anything, `%` anything without the delimiter. RFC 9051 6.3.9."""

from __future__ import annotations

import re
from collections.abc import Iterable

DELIMITER = "/"
_FEW_WILDCARDS = 2
"""A regular expression takes time of this power of the name's length; patterns with more are walked."""
_WILDCARD_RUN = re.compile(r"[*%]+")
_MEANING = {"*": "(?s:.*)", "%": "[^/]*"}


class Matcher:
    """One pattern. Its time is that of the name's length times a few operations on as many bits as the pattern is long."""

    def __init__(self, pattern: str) -> None:
        head, tail = pattern[:5], pattern[5:]
        self._pattern = pattern
        self._walk = _Walk(pattern)
        # `inbox` names INBOX, and `inboxes` a mailbox of that name
        self._of_inbox = _Walk("INBOX" + tail) if head.upper() == "INBOX" else self._walk
        self._quick = re.compile(_expression(pattern)) if len(_wildcards(pattern)) <= _FEW_WILDCARDS else None

    def matches(self, name: str) -> bool:
        """INBOX matches in any case, other names as they are."""
        if name == "INBOX" or name.startswith("INBOX/"):
            return self._of_inbox.matches(name)
        if self._quick is not None:
            return self._quick.fullmatch(name) is not None
        return self._walk.matches(name)

    def may_match_below(self, prefix: str) -> bool:
        """Whether names that begin so could match: a guess that is never wrongly no."""
        wildcards = _wildcards(self._pattern)
        fixed = self._pattern[: wildcards[0]] if wildcards else self._pattern
        return fixed.startswith(prefix) or prefix.startswith(fixed)


def _wildcards(pattern: str) -> list[int]:
    return [place for place, char in enumerate(pattern) if char in _MEANING]


def _expression(pattern: str) -> str:
    return "".join(_MEANING.get(char) or re.escape(char) for char in pattern)


class _Walk:
    """Walks a name once with the set of pattern places that are still possible, as the bits of an integer."""

    def __init__(self, pattern: str) -> None:
        pattern = _WILDCARD_RUN.sub(lambda run: "*" if "*" in run[0] else "%", pattern)
        self._end = 1 << len(pattern)
        self._places: dict[str, int] = {}
        for place, char in enumerate(pattern):
            self._places[char] = self._places.get(char, 0) | 1 << place
        self._any = self._places.pop("*", 0)
        self._within = self._places.pop("%", 0)
        self._wild = self._any | self._within

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        wild, literal = self._wild, self._places.get
        # Behind a wildcard, which may stand for nothing, no other follows.
        possible = 1 | (1 & wild) << 1
        for char in name:
            stays = self._any if char == DELIMITER else wild
            possible = (possible & literal(char, 0)) << 1 | possible & stays
            if not possible:
                return False
            possible |= (possible & wild) << 1
        return bool(possible & self._end)


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
