"""How far away the terminal is: the time from asking for the cursor's position to the answer, behind all output not yet shown.

The kernel's output queue says nothing (it is empty on a full pseudo-terminal); only an answer proves that the bytes arrived. A
terminal that never answers is not judged.
"""

from __future__ import annotations

from typing import Literal

SLOW_SECONDS = 0.3
STUCK_SECONDS = 2.0
SLOW_HZ = 0.5
QUESTION = "\x1b[6n"

Pace = Literal["fast", "slow", "stuck"]


class Link:
    """Times the answers; `pace` is what they mean."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._took = 0.0
        self._answers = False

    def asking(self, now: float) -> bool:
        """True when the question is to be sent now; one at a time, so that they do not pile up on a slow line."""
        if self._asked_at is not None and self._answers:
            return False
        self._asked_at = now
        return True

    def answered(self, now: float) -> None:
        """The terminal answered the last question."""
        if self._asked_at is not None:
            self._took, self._asked_at, self._answers = now - self._asked_at, None, True

    def pace(self, now: float) -> Pace:
        """Judged by the last answer, or by how long the next one is overdue."""
        waiting = now - self._asked_at if self._asked_at is not None and self._answers else 0.0
        longest = max(self._took, waiting)
        return "stuck" if longest > STUCK_SECONDS else "slow" if longest > SLOW_SECONDS else "fast"
