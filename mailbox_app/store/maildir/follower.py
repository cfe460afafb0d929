"""The one background thread of the store: files follow what was committed, names soon after flags, expunged ones away.

Started with the first flag change. What it does not get done (a crash, an error) is seen in the index and done after the
account's next opening or flag change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountRef

_DELAY_SECONDS = 0.3
"""Changes that come one by one in this time are renamed together."""
_PAUSE_SECONDS = 0.01
"""After each batch: longer than anybody who waits for the account's lock sleeps between two looks at it."""


class NameFollower:
    """Calls `write_names(ref)` (until it says that nothing waits) soon after `follow(ref)`."""

    def __init__(self, write_names: Callable[[AccountRef], bool]) -> None:
        self._write_names = write_names
        self._waiting: dict[int, AccountRef] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._log = structlog.get_logger("store")

    def follow(self, ref: AccountRef) -> None:
        """Names of this account wait for their flags."""
        with self._wake:
            self._waiting[ref.account_id] = ref
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="flag-names", daemon=True)
                self._thread.start()
            self._wake.notify()

    def flush(self) -> None:
        """Do all that waits, now, in the caller's thread."""
        for ref in self._take():
            self._write(ref, 0)

    def close(self) -> None:
        """Do what waits and end the thread."""
        self._closed.set()
        with self._wake:
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._closed.is_set():
            with self._wake:
                while not self._waiting and not self._closed.is_set():
                    self._wake.wait()
            self._closed.wait(_DELAY_SECONDS)
            for ref in self._take():
                self._write(ref, _PAUSE_SECONDS)

    def _take(self) -> list[AccountRef]:
        with self._wake:
            refs = list(self._waiting.values())
            self._waiting.clear()
        return refs

    def _write(self, ref: AccountRef, pause_seconds: float) -> None:
        try:
            while self._write_names(ref):
                if pause_seconds:
                    self._closed.wait(pause_seconds)
        except StoreError as error:
            self._log.warning("file names do not follow flags", account_id=ref.account_id, error=error.code)
