"""The one notion of equal letters: what SEARCH, SORT and the search index compare is `fold` of both sides.

`fold` maps each character by itself to the lower case of its compatibility decomposition, so it is a superset of the
collation i;unicode-casemap: what that calls equal is equal here, and besides (as in full case folding) the sharp s equals
ss. Because no character looks at its neighbours, the fold of a text is the fold of its pieces in a row, and a text is a
substring of another's fold exactly when it was one before, up to case and form.
"""

from __future__ import annotations

import unicodedata

_KEPT = 32_768
"""Characters remembered: all of common use. Mail that has every character there is must not fill the memory."""
_HANGUL = range(0xAC00, 0xD7A4)
_SURROGATES = range(0xD800, 0xE000)


class _Table(dict[int, int | str]):
    """What `str.translate` asks: filled as characters are met."""

    def __missing__(self, code: int) -> int | str:
        folded = _fold_character(code)
        if len(self) < _KEPT:
            self[code] = folded
        return folded


_TABLE = _Table()


def fold(text: str) -> str:
    """The text in the form that is compared; folding it again changes nothing. RFC 5051, RFC 5255 4.

    NUL and lone surrogates, which databases and encodings do not take, become U+FFFD.
    """
    if text.isascii() and "\0" not in text:
        return text.lower()
    return text.translate(_TABLE)


def _fold_character(code: int) -> int | str:
    if code in _HANGUL:  # the collation takes decompositions from a table that has none for syllables
        return code
    if not code or code in _SURROGATES:
        return 0xFFFD
    folded = chr(code)
    while (step := "".join(map(_step, folded))) != folded:
        folded = step
    return folded


def _step(character: str) -> str:
    return "".join(map(str.lower, unicodedata.normalize("NFKD", character.title())))
