"""What the machine says about itself: memory of processes, room on a disk, load. Linux; zero where it does not say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system."""

    used_bytes: int
    total_bytes: int
    free_bytes: int


def memory_bytes(pids: Sequence[int]) -> int:
    """Memory of processes that share pages, each page counted once in sum (PSS)."""
    return sum(_pss_bytes(pid) for pid in pids or [os.getpid()])


def disk(path: Path) -> Disk:
    """The file system a folder lies on."""
    status = os.statvfs(path)
    total = status.f_blocks * status.f_frsize
    return Disk(total - status.f_bfree * status.f_frsize, total, status.f_bavail * status.f_frsize)


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def _pss_bytes(pid: int) -> int:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text("ascii", "replace")
        except OSError:
            continue  # another user's process, or one that has just ended
        for line in text.splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0
