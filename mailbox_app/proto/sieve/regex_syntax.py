"""The grammar of POSIX extended regular expressions: patterns as trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_MOST_REPEATS = 255
_DEEPEST = 50
_MOST_GROUPS = 50


class BadPattern(ValueError):
    """A pattern that is none; the text says why."""


@dataclass(frozen=True, slots=True)
class Character:
    """One character that passes a test."""

    test: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    items: Sequence[Node]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Alternatives."""

    choices: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Group:
    """Parentheses; numbers from 1."""

    number: int
    inner: Node


@dataclass(frozen=True, slots=True)
class Repeat:
    """So many times; `most` None for any."""

    inner: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Begin:
    """`^`."""


@dataclass(frozen=True, slots=True)
class End:
    """`$`."""


Node = Character | Row | OneOf | Group | Repeat | Begin | End

CLASSES: Mapping[str, Callable[[str], bool]] = {
    "alpha": str.isalpha,
    "digit": lambda character: character in "0123456789",
    "alnum": str.isalnum,
    "upper": str.isupper,
    "lower": str.islower,
    "space": lambda character: character in " \t\n\r\f\v",
    "blank": lambda character: character in " \t",
    "punct": lambda character: character.isprintable() and not character.isalnum() and character != " ",
    "print": str.isprintable,
    "graph": lambda character: character.isprintable() and character != " ",
    "cntrl": lambda character: character < " " or character == "\x7f",
    "xdigit": lambda character: character in "0123456789abcdefABCDEF",
}

_ESCAPES: Mapping[str, Callable[[str], bool]] = {
    "d": CLASSES["digit"],
    "D": lambda character: not CLASSES["digit"](character),
    "s": CLASSES["space"],
    "S": lambda character: not CLASSES["space"](character),
    "w": lambda character: character.isalnum() or character == "_",
    "W": lambda character: not (character.isalnum() or character == "_"),
}
"""No part of POSIX; every library knows them and scripts use them."""


def parse_pattern(pattern: str, *, ignore_case: bool) -> tuple[Node, int]:
    """The tree and the number of groups; raises `BadPattern`."""
    parser = _Parser(pattern, ignore_case)
    node = parser.alternatives(0)
    if parser.position < len(pattern):
        raise BadPattern('there is a ")" too many')
    return node, parser.groups


def _cases(character: str) -> frozenset[str]:
    return frozenset((character, character.lower(), character.upper()))


class _Parser:
    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self._pattern = pattern
        self._ignore_case = ignore_case
        self.position = 0
        self.groups = 0

    def _peek(self) -> str:
        return self._pattern[self.position : self.position + 1]

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise BadPattern("its parentheses are nested too deeply")
        choices = [self._row(depth)]
        while self._peek() == "|":
            self.position += 1
            choices.append(self._row(depth))
        return choices[0] if len(choices) == 1 else OneOf(choices)

    def _row(self, depth: int) -> Node:
        items: list[Node] = []
        while (character := self._peek()) and character not in "|)":
            items.append(self._repeated(self._atom(depth)))
        return items[0] if len(items) == 1 else Row(items)

    def _repeated(self, node: Node) -> Node:
        while True:
            character = self._peek()
            if character == "*":
                least, most = 0, None
            elif character == "+":
                least, most = 1, None
            elif character == "?":
                least, most = 0, 1
            elif character == "{":
                least, most = self._bounds()
            else:
                return node
            self.position += 1
            if isinstance(node, Begin | End):
                raise BadPattern("an anchor cannot be repeated")
            node = Repeat(node, least, most)

    def _bounds(self) -> tuple[int, int | None]:
        """`{n}`, `{n,}`, `{n,m}`; leaves the position on the closing brace."""
        end = self._pattern.find("}", self.position)
        low, comma, high = self._pattern[self.position + 1 : max(end, 0)].partition(",")
        if end < 0 or not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            raise BadPattern("the numbers in braces are not valid")
        least = int(low[:9])
        most = (int(high[:9]) if high else None) if comma else least
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            raise BadPattern(f"the numbers in braces must be in order and at most {_MOST_REPEATS}")
        self.position = end
        return least, most

    def _atom(self, depth: int) -> Node:
        character = self._peek()
        self.position += 1
        if character == "(":
            self.groups += 1
            if self.groups > _MOST_GROUPS:
                raise BadPattern(f"it has more than {_MOST_GROUPS} groups")
            number = self.groups
            inner = self.alternatives(depth + 1)
            if self._peek() != ")":
                raise BadPattern('a "(" is never closed')
            self.position += 1
            return Group(number, inner)
        if character == "[":
            return self._bracket()
        if character == ".":
            return Character(lambda _: True)
        if character == "^":
            return Begin()
        if character == "$":
            return End()
        if character in "*+?{":
            raise BadPattern(f'there is nothing before "{character}" to repeat')
        if character == "\\":
            character = self._peek()
            if not character:
                raise BadPattern("it ends with a backslash")
            self.position += 1
            if character in _ESCAPES:
                return Character(_ESCAPES[character])
            if character.isalnum():
                raise BadPattern(f'"\\{character}" means nothing here')
        return Character((_cases(character) if self._ignore_case else frozenset((character,))).__contains__)

    def _bracket(self) -> Node:
        """POSIX 9.3.5: `[abc]`, `[^a-z]`, `[[:digit:]]`."""
        negated = self._peek() == "^"
        if negated:
            self.position += 1
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        classes: list[Callable[[str], bool]] = []
        first = True
        while first or self._peek() != "]":
            first = False
            if self._pattern.startswith("[:", self.position):
                classes.append(self._class())
                continue
            low = self._member()
            if self._peek() == "-" and self._pattern[self.position + 1 : self.position + 2] not in ("]", ""):
                self.position += 1
                high = self._member()
                if high < low:
                    raise BadPattern(f'the range "{low}-{high}" is empty')
                ranges.append((low, high))
            else:
                singles.add(low)
        self.position += 1
        return Character(_Set(singles, ranges, classes, negated, self._ignore_case).has)

    def _member(self) -> str:
        character = self._peek()
        if not character:
            raise BadPattern('a "[" is never closed')
        if self._pattern.startswith(("[.", "[="), self.position):
            mark = self._pattern[self.position + 1]
            end = self._pattern.find(mark + "]", self.position + 2)
            if end != self.position + 3:
                raise BadPattern("a collating element must be one character")
            self.position = end + 2
            return self._pattern[end - 1]
        self.position += 1
        return character

    def _class(self) -> Callable[[str], bool]:
        end = self._pattern.find(":]", self.position + 2)
        name = self._pattern[self.position + 2 : max(end, 0)]
        if end < 0 or name not in CLASSES:
            raise BadPattern(f'"[:{name[:20]}:]" is not a class of characters')
        self.position = end + 2
        if self._ignore_case and name in ("upper", "lower"):
            return CLASSES["alpha"]
        return CLASSES[name]


class _Set:
    """A bracket expression."""

    def __init__(
        self,
        singles: set[str],
        ranges: Sequence[tuple[str, str]],
        classes: Sequence[Callable[[str], bool]],
        negated: bool,
        ignore_case: bool,
    ) -> None:
        self._singles = {each for single in singles for each in _cases(single)} if ignore_case else singles
        self._ranges = ranges
        self._classes = classes
        self._negated = negated
        self._ignore_case = ignore_case

    def has(self, character: str) -> bool:
        """Whether the character is one of them."""
        return self._holds(character) != self._negated

    def _holds(self, character: str) -> bool:
        if character in self._singles or any(test(character) for test in self._classes):
            return True
        if not self._ranges:
            return False
        forms = _cases(character) if self._ignore_case else (character,)
        return any(low <= form <= high for low, high in self._ranges for form in forms)
