"""What glibc's malloc cannot guess about a server; with another C library nothing happens here."""

from __future__ import annotations

import ctypes

_OPTIONS = ((-8, 2), (-3, 131_072), (-1, 4 * 1024 * 1024))
"""M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD."""


def set_limits() -> None:
    """Before any thread is made.

    Two arenas instead of eight per core: with 16 threads that is tens of MiB of idle heap a process. And a fixed border
    above which blocks go back at once: left alone, the first Argon2 hash (19 MiB) raises it and is kept for ever, and
    the 256 KiB that TLS takes for a handshake stay with every idle connection.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in _OPTIONS:
            libc.mallopt(option, value)


def give_back() -> None:
    """Return free pages inside the heap to the system; some milliseconds, without the GIL."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
