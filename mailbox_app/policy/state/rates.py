"""How much of something one key did lately: shared by all processes."""

from __future__ import annotations

from typing import Protocol


class Rates(Protocol):
    """Counts per key over a sliding time."""

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        """Add to a key's count; the count within the window, this time included. A look into memory."""
        ...
