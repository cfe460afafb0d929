"""One writer at a time, over all threads and processes, for one account.

A lock file instead of SQLite's own busy handler: the lock also covers the files beside the index, and waiting is polled
finely, because another front's commit is over in a millisecond. It is gone when its holder dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time

from mailbox_app.errors import StoreError

_FIRST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.008


class AccountLock:
    """The lock of one account; a context manager. Not re-entrant. `store.busy` when it is not had in time."""

    _descriptor = -1

    def __init__(self, path: str, busy_seconds: float = 5.0) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread_lock = threading.Lock()
        self._busy_seconds = busy_seconds

    def __enter__(self) -> None:
        deadline = time.monotonic() + self._busy_seconds
        if not self._thread_lock.acquire(timeout=self._busy_seconds):
            raise _busy()
        try:
            wait = _FIRST_WAIT_SECONDS
            while True:
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise _busy() from error
                    time.sleep(wait)
                    wait = min(wait * 1.5, _LONGEST_WAIT_SECONDS)
                else:
                    return
        except BaseException:
            self._thread_lock.release()
            raise

    def __exit__(self, *details: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._thread_lock.release()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _busy() -> StoreError:
    return StoreError("store.busy", "the mailbox is busy", temporary=True)
