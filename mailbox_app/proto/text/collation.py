"""How texts are put in order: i;unicode-casemap, the collation of I18NLEVEL=1. RFC 5051, RFC 5255 4.5.

`folding.fold` says which letters are equal when one text is looked for in another; this says in addition which comes first.
"""

from __future__ import annotations

import unicodedata

_KEPT = 32_768
"""Characters remembered: all of common use."""


class _Titlecase(dict[int, str]):
    """A character's simple titlecase; characters that would become several stay as they are."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        mapped = title if len(title) == 1 else character
        if len(self) < _KEPT:
            self[code] = mapped
        return mapped


_TITLECASE = _Titlecase()


def collation_key(text: str) -> str:
    """What stands for a text when texts are put in order or compared for equality."""
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKD", text.translate(_TITLECASE))
