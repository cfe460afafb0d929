"""POSIX extended regular expressions, matched by running all possibilities side by side: never more than text times pattern.

The first match from the left counts, and of those the longest; groups are told as a greedy matcher would find them.
Whether there is a match at all is asked first, of `regex_states`. Back-references do not exist in this language; `regex_syntax`
reads patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mailbox_app.proto.sieve.regex_states import BEGIN, CHARACTER, END, MATCH, SAVE, SPLIT, Automaton
from mailbox_app.proto.sieve.regex_syntax import (
    BadPattern,
    Begin,
    Character,
    Group,
    Node,
    OneOf,
    Repeat,
    Row,
    parse_pattern,
)

__all__ = ["BadPattern", "Regex"]

_MOST_INSTRUCTIONS = 4_000
_PAY_EVERY = 512

Saves = tuple[int, ...]


class _Program:
    """Instructions as parallel lists."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.tests: list[Callable[[str], bool] | None] = []
        self.first: list[int] = []
        """Where to go on (preferred); of a save the slot."""
        self.second: list[int] = []

    def add(self, kind: int, test: Callable[[str], bool] | None = None, first: int = 0, second: int = -1) -> int:
        if len(self.kinds) >= _MOST_INSTRUCTIONS:
            raise BadPattern("it is too large")
        self.kinds.append(kind)
        self.tests.append(test)
        self.first.append(first)
        self.second.append(second)
        return len(self.kinds) - 1

    def compile(self, node: Node) -> None:
        """Append what matches the node; falls through to the next instruction."""
        if isinstance(node, Character):
            self.add(CHARACTER, node.test)
        elif isinstance(node, Row):
            for item in node.items:
                self.compile(item)
        elif isinstance(node, OneOf):
            self._one_of(node)
        elif isinstance(node, Group):
            self.add(SAVE, first=2 * node.number)
            self.compile(node.inner)
            self.add(SAVE, first=2 * node.number + 1)
        elif isinstance(node, Repeat):
            self._repeat(node)
        else:
            self.add(BEGIN if isinstance(node, Begin) else END)

    def _one_of(self, node: OneOf) -> None:
        leaves = []
        for choice in node.choices[:-1]:
            split = self.add(SPLIT)
            self.first[split] = len(self.kinds)
            self.compile(choice)
            leaves.append(self.add(SPLIT))
            self.second[split] = len(self.kinds)
        self.compile(node.choices[-1])
        for leave in leaves:
            self.first[leave] = len(self.kinds)

    def _repeat(self, node: Repeat) -> None:
        for _ in range(node.least):
            self.compile(node.inner)
        if node.most is None:
            loop = self.add(SPLIT)
            self.first[loop] = len(self.kinds)
            self.compile(node.inner)
            self.add(SPLIT, first=loop)
            self.second[loop] = len(self.kinds)
            return
        splits = []
        for _ in range(node.most - node.least):
            split = self.add(SPLIT)
            self.first[split] = len(self.kinds)
            splits.append(split)
            self.compile(node.inner)
        for split in splits:
            self.second[split] = len(self.kinds)


class Regex:
    """One compiled pattern; raises `BadPattern`."""

    __slots__ = ("_automaton", "_groups", "_program", "size")

    def __init__(self, pattern: str, *, ignore_case: bool) -> None:
        node, self._groups = parse_pattern(pattern, ignore_case=ignore_case)
        program = _Program()
        program.compile(node)
        program.add(MATCH)
        self._program = program
        self._automaton = Automaton(program)
        self.size = len(program.kinds)

    def matches(self, text: str, spend: Callable[[int], None]) -> bool:
        """Whether it matches somewhere; much quicker than `search`."""
        return self._automaton.matches(text, spend)

    def search(self, text: str, spend: Callable[[int], None]) -> Sequence[str] | None:
        """The match and its groups (unused ones empty), or None. `spend` is told the work done."""
        saves = self._run(text, spend) if self._automaton.matches(text, spend) else None
        if saves is None:
            return None
        return [text[saves[i] : saves[i + 1]] if saves[i + 1] >= 0 else "" for i in range(0, len(saves), 2)]

    def _run(self, text: str, spend: Callable[[int], None]) -> Saves | None:
        program = self._program
        tests, matches = program.tests, program.kinds
        empty = (-1,) * (2 * self._groups + 2)
        threads: list[tuple[int, Saves]] = []
        best: Saves | None = None
        work = 0
        length = len(text)
        for position in range(length + 1):
            seen: set[int] = set()
            following: list[tuple[int, Saves]] = []
            character = text[position - 1] if position else ""
            for state, saves in threads:
                test = tests[state]
                if test is not None and test(character):
                    self._follow(state + 1, saves, position, length, seen, following)
            if best is None:
                self._follow(0, (position, *empty[1:]), position, length, seen, following)
            work += len(seen) + len(threads) + 1
            if work >= _PAY_EVERY:
                spend(work >> 3)
                work = 0
            threads = []
            for state, saves in following:
                if matches[state] == MATCH:
                    if best is None or saves[0] < best[0] or (saves[0] == best[0] and position > best[1]):
                        best = (saves[0], position, *saves[2:])
                elif best is None or saves[0] <= best[0]:
                    threads.append((state, saves))
            if best is not None:
                threads = [thread for thread in threads if thread[1][0] <= best[0]]
                if not threads:
                    break
        spend(work >> 3)
        return best

    def _follow(
        self, state: int, saves: Saves, position: int, length: int, seen: set[int], out: list[tuple[int, Saves]]
    ) -> None:
        """All instructions that wait for a character (or have matched), reached from a state without one, in order."""
        program = self._program
        kinds, first, second = program.kinds, program.first, program.second
        stack = [(state, saves)]
        while stack:
            state, saves = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            kind = kinds[state]
            if kind in (CHARACTER, MATCH):
                out.append((state, saves))
            elif kind == SPLIT:
                if second[state] >= 0:
                    stack.append((second[state], saves))
                stack.append((first[state], saves))
            elif kind == SAVE:
                slot = first[state]
                stack.append((state + 1, (*saves[:slot], position, *saves[slot + 1 :])))
            elif (kind == BEGIN and position == 0) or (kind == END and position == length):
                stack.append((state + 1, saves))
