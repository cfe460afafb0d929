"""Comparators and match types: how the values that a test found are held against its keys. RFC 5228 2.7, RFC 4790, RFC 5231.

Everything is in proportion to the texts: `:matches` is a search for each piece between stars, `:regex` an automaton. Long texts are
paid for from the run's budget.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.sieve.glob import Glob
from mailbox_app.proto.sieve.regex import BadPattern, Regex
from mailbox_app.proto.sieve.values import Texts
from mailbox_app.proto.text.collation import collation_key

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.machine import Machine

Order = str | tuple[int, int, str]
"""What stands for a value when two are compared."""

_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_DIGITS = re.compile(r"[0-9]+")


def ascii_casemap(text: str) -> str:
    """RFC 4790 9.2: letters of ASCII in upper case, all else as it is."""
    return text.upper() if text.isascii() else text.translate(_UPPER)


def octet(text: str) -> str:
    """RFC 4790 9.3."""
    return text


def numeric(text: str) -> tuple[int, int, str]:
    """RFC 4790 9.1: a number of any size; what does not begin with a digit is infinite."""
    found = _DIGITS.match(text)
    if found is None:
        return 1, 0, ""
    digits = found[0].lstrip("0")
    return 0, len(digits), digits


FOLDS: dict[str, Callable[[str], str]] = {
    "i;octet": octet,
    "i;ascii-casemap": ascii_casemap,
    "i;unicode-casemap": collation_key,
}
"""Comparators that know equality, substrings and order."""
NUMERIC = "i;ascii-numeric"
"""The comparator that knows equality and order only."""
COMPARATORS = (*FOLDS, NUMERIC)
RELATIONS: dict[str, Callable[[Order, Order], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}

_MOST_CAPTURES = 99
"""Match variables of one match; RFC 5229 6 asks for nine."""


class Match:
    """One match type with its comparator, as a test has it."""

    def __init__(self, kind: str, comparator: str, relation: str = "", *, capture: bool = False) -> None:
        self.kind = kind
        self.comparator = comparator
        self.relation = relation
        self._capture = capture
        self._order: Callable[[str], Order] = FOLDS.get(comparator, numeric)
        self._folded: Sequence[str] | None = None
        self._orders: frozenset[Order] = frozenset()
        self._globs: dict[str, Glob] = {}
        self._regexes: dict[str, Regex] = {}

    def prepare(self, keys: Texts) -> None:
        """Look at constant keys once; raises `BadPattern`."""
        if keys.constant is None:
            return
        if self.kind == "contains":
            self._folded = [FOLDS[self.comparator](key) for key in keys.constant]
        elif self.kind == "is":
            self._folded = keys.constant
            self._orders = frozenset(map(self._order, keys.constant))
        for key in keys.constant:
            if self.kind == "matches":
                self._globs[key] = self._glob(key)
            elif self.kind == "regex":
                self._regexes[key] = Regex(key, ignore_case=self.comparator != "i;octet")

    def test(self, machine: Machine, values: Sequence[str], keys: Texts, wanted: Sequence[str] | None = None) -> bool:
        """Whether any value matches any key (or one of `wanted`, where a test reads its keys itself).

        `:count` compares how many values there are.
        """
        own_keys = wanted is not None
        if wanted is None:
            wanted = keys.values(machine)
        machine.seen = (values, wanted)
        if self.kind == "count":
            return self._related((str(len(values)),), wanted)
        machine.spend(len(values) * len(wanted) + (sum(map(len, values)) * len(wanted) >> 11))
        if self.kind == "contains":
            fold = FOLDS[self.comparator]
            folded = self._folded
            if folded is None or own_keys:
                folded = [fold(self._paid(machine, key)) for key in wanted]
            return any(key in text for text in map(fold, values) for key in folded)
        if self.kind == "is":
            order, orders = self._order, self._orders
            if self._folded is None or own_keys:
                orders = frozenset(order(self._paid(machine, key)) for key in wanted)
            return any(order(value) in orders for value in values)
        if self.kind == "value":
            return self._related(values, wanted)
        found = self._matches if self.kind == "matches" else self._searches
        return any(found(machine, value, key) for value in values for key in wanted)

    def _paid(self, machine: Machine, key: str) -> str:
        machine.spend(len(key) >> 9)
        return key

    def _related(self, values: Sequence[str], keys: Sequence[str]) -> bool:
        order, relation = self._order, RELATIONS[self.relation]
        return any(relation(order(value), order(key)) for value in values for key in keys)

    def _glob(self, key: str) -> Glob:
        return Glob(key, FOLDS[self.comparator])

    def _matches(self, machine: Machine, value: str, key: str) -> bool:
        glob = self._globs.get(key) or self._glob(self._paid(machine, key))
        folded = FOLDS[self.comparator](value)
        machine.spend(glob.cost(len(folded)))
        spans = glob.match(folded)
        if spans is None:
            return False
        if self._capture:
            text = value if len(value) == len(folded) else folded
            machine.frame.match = (text, *(text[start:end] for start, end in spans[:_MOST_CAPTURES]))
        return True

    def _searches(self, machine: Machine, value: str, key: str) -> bool:
        regex = self._regexes.get(key)
        if regex is None:
            try:
                regex = Regex(key, ignore_case=self.comparator != "i;octet")
            except BadPattern as error:
                raise machine.fault(f"the regular expression {key[:60]!r} is not valid: {error}") from error
            machine.spend(regex.size)
        if not self._capture:
            return regex.matches(value, machine.spend)
        groups = regex.search(value, machine.spend)
        if groups is None:
            return False
        machine.frame.match = groups
        return True
