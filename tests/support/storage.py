"""A data folder on a file system of its own that can be filled, made read-only and healed; needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


class SmallDisk:
    """A tmpfs of some megabytes."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0750", "tmpfs", str(folder))

    def fill(self, leave_bytes: int = 0) -> None:
        """Leave so little free; what is freed meanwhile is taken too when it is called again."""
        with (self.folder / "ballast").open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while self.free_bytes() >= leave_bytes + size:
                        file.write(bytes(size))

    def free_bytes(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def empty(self) -> None:
        """The operator made room."""
        (self.folder / "ballast").unlink(missing_ok=True)

    def read_only(self, on: bool) -> None:
        """What a kernel does to a file system with errors (tmpfs refuses it while a file is open for writing)."""
        _run("mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.folder))

    def unmount(self) -> None:
        _run("umount", "-l", str(self.folder))


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(folder, size_bytes)
    try:
        yield disk
    finally:
        disk.unmount()


def why_not() -> str:
    """Why no file system can be mounted here; empty when it can."""
    if os.geteuid():
        return "only root can mount a small file system"
    if shutil.which("mount") is None:
        return "there is no mount command"
    with tempfile.TemporaryDirectory() as folder:
        try:
            _run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
        except subprocess.CalledProcessError as error:
            return f"mounting is not allowed here: {error.stderr.decode().strip()}"
        _run("umount", folder)
    return ""


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)
