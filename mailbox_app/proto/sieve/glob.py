"""`:matches` patterns: `*` any text, `?` any one character, a backslash before one that is meant as it is. RFC 5228 2.7.1.

Between stars stand pieces of fixed length; the earliest place of each is always good enough, so nothing is ever tried twice.
Each wildcard takes as little as it can (RFC 5229 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


class _Piece:
    """Text without stars."""

    __slots__ = ("holes", "length", "literal", "pattern")

    def __init__(self, characters: Sequence[str]) -> None:
        """Each item a text as it is; "" for a question mark."""
        self.literal = "".join(characters)
        self.holes: list[int] = []
        self.pattern: re.Pattern[str] | None = None
        position = 0
        for item in characters:
            if not item:
                self.holes.append(position)
                position += 1
            position += len(item)
        self.length = position
        if self.holes:
            source = "".join(re.escape(item) if item else "." for item in characters)
            self.pattern = re.compile(source, re.DOTALL)

    def at(self, text: str, position: int) -> bool:
        if self.pattern is None:
            return text.startswith(self.literal, position)
        return self.pattern.match(text, position) is not None

    def find(self, text: str, position: int) -> int:
        if self.pattern is None:
            return text.find(self.literal, position)
        found = self.pattern.search(text, position)
        return found.start() if found else -1

    def spans(self, position: int) -> list[tuple[int, int]]:
        return [(position + hole, position + hole + 1) for hole in self.holes]


class Glob:
    """One pattern, for texts that went through `fold` already."""

    __slots__ = ("_pieces",)

    def __init__(self, pattern: str, fold: Callable[[str], str]) -> None:
        pieces: list[list[str]] = [[]]
        plain: list[str] = []
        escaped = False

        def flush() -> None:
            if plain:
                pieces[-1].append(fold("".join(plain)))
                plain.clear()

        for character in pattern:
            if escaped or character not in "*?\\":
                plain.append(character)
                escaped = False
            elif character == "\\":
                escaped = True
            else:
                flush()
                if character == "*":
                    pieces.append([])
                else:
                    pieces[-1].append("")
        if escaped:
            plain.append("\\")
        flush()
        self._pieces = [_Piece(piece) for piece in pieces]

    def cost(self, length: int) -> int:
        """Budget steps of a match with a text of this length."""
        return sum(length * (piece.length if piece.holes else 1) for piece in self._pieces) >> 9

    def match(self, text: str) -> Sequence[tuple[int, int]] | None:
        """Where each wildcard lies, left to right; None when the whole text does not match."""
        first, last = self._pieces[0], self._pieces[-1]
        if not first.at(text, 0):
            return None
        spans = first.spans(0)
        position = first.length
        if first is last:
            return spans if position == len(text) else None
        for piece in self._pieces[1:-1]:
            found = piece.find(text, position)
            if found < 0:
                return None
            spans.append((position, found))
            spans += piece.spans(found)
            position = found + piece.length
        tail = len(text) - last.length
        if tail < position or not last.at(text, tail):
            return None
        spans.append((position, tail))
        spans += last.spans(tail)
        return spans
