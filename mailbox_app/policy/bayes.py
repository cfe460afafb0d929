"""How likely a message is junk, from counts of its words: Robinson's estimate for each word, Fisher's method for all.

Pure arithmetic. A word seen often says much, a word seen once little; words that say nothing are left out; only the 150
that say most are combined, so a message cannot be talked good by length. The outcome is near 0 for wanted mail, near 1
for junk and near 0.5 when nothing or both is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

LEAST_TRAINED = 20
"""Messages of each class before a classifier says anything."""
STRONGEST = 150
_STRENGTH = 0.45
"""How much the assumption about an unknown word weighs, in occurrences."""
_UNKNOWN = 0.5
_LEAST_DEVIATION = 0.1
_CURVE = ((0.0, -3.0), (0.05, -2.0), (0.25, 0.0), (0.7, 0.0), (0.9, 2.0), (0.97, 3.5), (0.99, 4.5), (1.0, 6.0))
"""(likelihood, score), straight in between: scores of -3 to 6."""


class Counts(NamedTuple):
    """How many messages of each class had a word, or there are in all."""

    spam: int
    ham: int

    @property
    def is_enough(self) -> bool:
        """Whether totals like these may have a say."""
        return self.spam >= LEAST_TRAINED and self.ham >= LEAST_TRAINED


def word_probability(word: Counts, totals: Counts) -> float:
    """How much a word speaks for junk, 0 to 1, by its share in each class."""
    spam = word.spam / max(totals.spam, 1)
    ham = word.ham / max(totals.ham, 1)
    seen = word.spam + word.ham
    if not seen or spam + ham <= 0:
        return _UNKNOWN
    return (_STRENGTH * _UNKNOWN + seen * (spam / (spam + ham))) / (_STRENGTH + seen)


def combine(probabilities: Iterable[float]) -> float:
    """One likelihood from those of the words."""
    strong = sorted((p for p in probabilities if abs(p - 0.5) >= _LEAST_DEVIATION), key=lambda p: -abs(p - 0.5))
    strong = strong[:STRONGEST]
    if not strong:
        return 0.5
    spam = _chi_square_tail(-2.0 * sum(math.log(1.0 - p) for p in strong), len(strong))
    ham = _chi_square_tail(-2.0 * sum(math.log(p) for p in strong), len(strong))
    return (1.0 + ham - spam) / 2.0


def score_of(chance: float) -> float:
    """The score a likelihood is worth."""
    for (low, low_score), (high, high_score) in itertools.pairwise(_CURVE):
        if chance <= high:
            return round(low_score + (high_score - low_score) * (chance - low) / (high - low), 1)
    return _CURVE[-1][1]


def _chi_square_tail(chi: float, pairs: int) -> float:
    """The chance of a chi-square value at least so large with 2 * `pairs` degrees of freedom."""
    half = chi / 2.0
    # in logarithms: exp(-half) alone vanishes for long messages
    term = -half
    total = math.exp(term)
    logarithm = math.log(half) if half > 0 else 0.0
    if half <= 0:
        return 1.0
    for index in range(1, pairs):
        term += logarithm - math.log(index)
        total += math.exp(term)
    return min(total, 1.0)
