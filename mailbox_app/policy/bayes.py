"""How likely a message is junk, from counts of its words: Robinson's estimate for each word, Fisher's method for all.

Pure arithmetic. A word seen often says much, a word seen once little; words that say nothing are left out; only the 150
that say most are combined, so a message cannot be talked good by length. The outcome is near 0 for wanted mail, near 1
for junk and near 0.5 when nothing or both is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LEAST_TRAINED = 20
"""Messages of each class before a classifier says anything."""
STRONGEST = 150
_STRENGTH = 0.45
"""How much the assumption about an unknown word weighs, in occurrences."""
SURE_TRAINED = 60
"""Messages of each class from which on a classifier is believed in full; with the least it may be sure of nothing."""
_LEAST_SURE = 0.9
_OTHERS_STRENGTH = 3.0
"""How much the others' experience with a word weighs, in occurrences."""
_UNKNOWN = 0.5
_ASSUMED = _STRENGTH * _UNKNOWN
_LOW, _HIGH = 0.4, 0.6
"""Words in between say nothing."""
_FACTORS = 20
_EXPONENT = 700.0
_CURVE = ((0.0, -3.0), (0.05, -2.0), (0.25, 0.0), (0.7, 0.0), (0.9, 2.8), (0.97, 4.6), (0.99, 5.2), (1.0, 6.0))
"""(likelihood, score), straight in between: scores of -3 to 6."""


class Counts(NamedTuple):
    """How many messages of each class had a word, or there are in all."""

    spam: int
    ham: int

    @property
    def is_enough(self) -> bool:
        """Whether totals like these may have a say."""
        return self.spam >= LEAST_TRAINED and self.ham >= LEAST_TRAINED

    def temper(self, chance: float) -> float:
        """A likelihood as sure as totals like these allow: what was learnt from little is often a coincidence."""
        learnt = (min(self.spam, self.ham) - LEAST_TRAINED) / (SURE_TRAINED - LEAST_TRAINED)
        return 0.5 + (chance - 0.5) * (_LEAST_SURE + (1 - _LEAST_SURE) * min(1.0, max(0.0, learnt)))


def word_probability(spam: int, ham: int, totals: Counts) -> float:
    """How much a word speaks for junk, 0 to 1, by its share in each class of messages."""
    seen = spam + ham
    if seen <= 0:
        return _UNKNOWN
    spam_share = spam * (totals.ham or 1)
    return (_ASSUMED + seen * spam_share / (spam_share + ham * (totals.spam or 1))) / (_STRENGTH + seen)


def own_probability(spam: int, ham: int, totals: Counts, others: float) -> float:
    """The same for one reader, who begins with what the word says to the others and trusts what was seen often at home."""
    seen = spam + ham
    if seen <= 0:
        return others
    spam_share = spam * (totals.ham or 1)
    share = spam_share / (spam_share + ham * (totals.spam or 1))
    return (_OTHERS_STRENGTH * others + seen * share) / (_OTHERS_STRENGTH + seen)


def combine(probabilities: Iterable[float]) -> float:
    """One likelihood from those of the words."""
    strong = [p for p in probabilities if not _LOW < p < _HIGH]
    if not strong:
        return 0.5
    if len(strong) > STRONGEST:
        strong.sort(key=_says_little)
        del strong[STRONGEST:]
    spam = _chi_square_tail(-_log_product([1.0 - p for p in strong]), len(strong))
    ham = _chi_square_tail(-_log_product(strong), len(strong))
    return (1.0 + ham - spam) / 2.0


def _says_little(probability: float) -> float:
    return -abs(probability - 0.5)


def _log_product(values: Sequence[float]) -> float:
    """Logarithms are slow, products of very many small numbers vanish: some of each."""
    return sum(math.log(math.prod(values[at : at + _FACTORS])) for at in range(0, len(values), _FACTORS))


def score_of(chance: float) -> float:
    """The score a likelihood is worth."""
    for (low, low_score), (high, high_score) in itertools.pairwise(_CURVE):
        if chance <= high:
            return round(low_score + (high_score - low_score) * (chance - low) / (high - low), 1)
    return _CURVE[-1][1]


def _chi_square_tail(half: float, pairs: int) -> float:
    """The chance of a chi-square value of at least 2 * `half` with 2 * `pairs` degrees of freedom."""
    if half <= 0:
        return 1.0
    if half < _EXPONENT:
        term = total = math.exp(-half)
        for index in range(1, pairs):
            term *= half / index
            total += term
        return min(total, 1.0)
    # exp(-half) alone vanishes, what it is multiplied with does not
    logarithm, exponent, total = math.log(half), -half, 0.0
    for index in range(1, pairs):
        exponent += logarithm - math.log(index)
        total += math.exp(min(exponent, 0.0))
    return min(total, 1.0)
