"""Lease tokens that name the process holding them, so that leases of a dead process are known as such at once.

A process is its id and its start time, which a later process with the same id does not share.
"""

from __future__ import annotations

import os
import secrets
from functools import cache


def new_token() -> str:
    """A fresh lease token of this process."""
    return f"{_holder(os.getpid())}:{secrets.token_hex(8)}"


def holder_of(token: str) -> str:
    """The process's name in a token."""
    return token.partition(":")[0]


def holder_lives(token: str) -> bool:
    """Whether the process that took the lease still runs (a reused process id has another start time)."""
    pid, _, started = holder_of(token).partition(".")
    return _started(int(pid)) == started


@cache
def _holder(pid: int) -> str:
    """This process, which does not change while it lives; a forked one has another id."""
    return f"{pid}.{_started(pid)}"


def _started(pid: int) -> str:
    """The process's start in ticks since boot; "" when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
