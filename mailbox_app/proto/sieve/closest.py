"""Names that were mistyped, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def like(name: str, known: Iterable[str]) -> str:
    """`; is "..." meant?` when a known name is nearly the same, else ""."""
    found = get_close_matches(name[:60], known, 1, 0.75)
    return f'; is "{found[0]}" meant?' if found else ""
