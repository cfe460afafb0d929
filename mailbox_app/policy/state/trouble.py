"""Trouble with what the policy remembers is told once, not with every message that met it."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from mailbox_app.errors import StoreError


class Trouble:
    """Of one subject in one process."""

    def __init__(self, log: FilteringBoundLogger, event: str) -> None:
        self._log = log
        self._event = event
        self._is_told = False

    def met(self, error: StoreError) -> None:
        """It cannot be asked now."""
        if not self._is_told:
            self._is_told = True
            self._log.warning(self._event, code=error.code)

    def over(self) -> None:
        """It answered."""
        self._is_told = False
