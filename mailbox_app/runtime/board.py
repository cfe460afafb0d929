"""The few bytes all processes of one daemon share: who runs, since when, how often restarted, and whether it serves.

Anonymous memory made before the forks. Only the supervisor writes a row, but for the ready mark, which is the role's own.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_ROW = struct.Struct("=IId")
_READY_OFFSET = _ROW.size
_STRIDE = 24


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process of the daemon. `pid` is 0 while it is down."""

    role: str
    pid: int
    restarts: int
    started_at_seconds: float
    """Since 1970."""
    ready: bool


class Board:
    """Rows in the order of the roles."""

    def __init__(self, roles: Sequence[str]) -> None:
        self.roles = tuple(roles)
        self._memory = mmap.mmap(-1, max(1, len(roles)) * _STRIDE)

    def rows(self) -> Sequence[ProcessRow]:
        """All of them as they are now."""
        return [self.row(index) for index in range(len(self.roles))]

    def row(self, index: int) -> ProcessRow:
        """One of them."""
        pid, restarts, started_at = _ROW.unpack_from(self._memory, index * _STRIDE)
        ready = bool(self._memory[index * _STRIDE + _READY_OFFSET])
        return ProcessRow(self.roles[index], pid, restarts, started_at, ready)

    def started(self, index: int, pid: int, at_seconds: float, restarts: int) -> None:
        """The supervisor has forked it."""
        _ROW.pack_into(self._memory, index * _STRIDE, pid, restarts, at_seconds)

    def ended(self, index: int) -> None:
        """It is down."""
        row = self.row(index)
        _ROW.pack_into(self._memory, index * _STRIDE, 0, row.restarts, row.started_at_seconds)
        self._memory[index * _STRIDE + _READY_OFFSET] = 0

    def mark_ready(self, index: int) -> None:
        """It serves."""
        self._memory[index * _STRIDE + _READY_OFFSET] = 1
