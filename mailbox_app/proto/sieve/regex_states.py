"""Whether a regular expression matches anywhere: sets of its states as states of their own, made when first met.

A character that was met in a state before costs one look into a dictionary, so long texts are read at the speed of a loop. The
sets are kept with the expression, up to a limit, and may be used by several threads: what one adds the other finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

CHARACTER, SPLIT, SAVE, BEGIN, END, MATCH = range(6)
_PIECE = 4_096
_MOST_KEPT = 100_000
"""Numbers of states in all sets, and steps between them: some megabytes at most."""

_KEPT_BETWEEN = 4_000
"""The same between two texts: compiled scripts stay in memory, and a script may have many expressions."""


class Program(Protocol):
    """Instructions as parallel lists; execution falls through to the next one."""

    kinds: list[int]
    tests: list[Callable[[str], bool] | None]
    first: list[int]
    """Where to go on (preferred); of a save the slot."""
    second: list[int]
    """Where else; -1: nowhere."""


class _Node:
    """A set of states that wait for a character, a match or the end."""

    __slots__ = ("following", "matched", "states")

    def __init__(self, states: Sequence[int], matched: bool) -> None:
        self.states = states
        self.matched = matched
        self.following: dict[str, _Node] = {}


class Automaton:
    """Asks only whether there is a match."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._nodes: dict[tuple[int, ...], _Node] = {}
        self._kept = 0

    def matches(self, text: str, spend: Callable[[int], None]) -> bool:
        """Whether the expression matches somewhere. `spend` is told the work done."""
        try:
            return self._matches(text, spend)
        finally:
            if self._kept > _KEPT_BETWEEN:
                self._nodes = {}
                self._kept = 0

    def _matches(self, text: str, spend: Callable[[int], None]) -> bool:
        node = self._node(self._closed((0,), begin=True))
        if node.matched:
            return True
        for start in range(0, len(text), _PIECE):
            spend(_PIECE >> 9)
            for character in text[start : start + _PIECE]:
                following = node.following.get(character)
                if following is None:
                    spend(1 + (len(node.states) >> 3))
                    following = self._step(node, character)
                node = following
                if node.matched:
                    return True
        at_end = [state + 1 for state in node.states if self._program.kinds[state] == END]
        return bool(at_end) and MATCH in map(
            self._program.kinds.__getitem__, self._closed(at_end, begin=not text, end=True)
        )

    def _step(self, node: _Node, character: str) -> _Node:
        tests = self._program.tests
        reached = [0]  # a match may begin at every place
        for state in node.states:
            test = tests[state]
            if test is not None and test(character):
                reached.append(state + 1)
        if self._kept >= _MOST_KEPT:
            self._nodes = {}
            self._kept = 0
        following = self._node(self._closed(reached))
        node.following[character] = following
        self._kept += 8
        return following

    def _node(self, states: tuple[int, ...]) -> _Node:
        node = self._nodes.get(states)
        if node is None:
            matched = any(self._program.kinds[state] == MATCH for state in states)
            node = self._nodes.setdefault(states, _Node(states, matched))
            self._kept += len(states)
        return node

    def _closed(self, states: Iterable[int], *, begin: bool = False, end: bool = False) -> tuple[int, ...]:
        """What is reached without a character."""
        program = self._program
        kinds, first, second = program.kinds, program.first, program.second
        seen: set[int] = set()
        found: list[int] = []
        stack = list(states)
        while stack:
            state = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            kind = kinds[state]
            if kind == SPLIT:
                stack.append(first[state])
                if second[state] >= 0:
                    stack.append(second[state])
            elif kind == SAVE or (kind == BEGIN and begin) or (kind == END and end):
                stack.append(state + 1)
            elif kind != BEGIN:
                found.append(state)
        return tuple(sorted(found))
