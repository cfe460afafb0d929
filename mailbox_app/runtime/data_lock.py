"""The data folder's lock: one daemon, or one offline command, at a time.

The lock lives as long as any process that inherited it, so a new daemon cannot start over the remains of an old one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def acquire(data_dir: Path) -> int | None:
    """The open descriptor that holds the lock, or None when another process has it."""
    descriptor = os.open(data_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(data_dir: Path) -> bool:
    """Whether a process has the lock: a daemon that runs, starts or stops."""
    try:
        descriptor = os.open(data_dir / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
