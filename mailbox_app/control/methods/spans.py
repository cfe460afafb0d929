"""Times as sentences have them."""

from __future__ import annotations

from datetime import datetime


def whole_seconds(at: datetime) -> datetime:
    """As the wire wants times."""
    return at.replace(microsecond=0)


def duration(seconds: float) -> str:
    """Short, for sentences: 40 s, 5 min, 3 h, 2 d."""
    seconds = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
