"""Spool files: the bytes of queued messages, 0600, written whole or not at all.

Write to a temporary name, fsync, rename, fsync the directory. A file without a queue row (a crash between the two) is
removed by `sweep` at start. Synchronous: call through `db.offload`.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mailbox_app.db.together import Together
from mailbox_app.errors import QueueError

_CHUNK_BYTES = 262_144
_ORPHAN_SECONDS = 3600
"""Younger files without a row may belong to an enqueue that is under way."""


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A durable file that no queue row owns yet."""

    path: str
    size_bytes: int


class DamagedSpoolFile(OSError):
    """It is not the file that was written."""


def is_lost(error: OSError, path: str) -> bool:
    """Whether the error says that this spool file is gone or damaged for good; all other trouble may pass."""
    if isinstance(error, DamagedSpoolFile):
        return True
    return isinstance(error, FileNotFoundError | IsADirectoryError) and error.filename == path


class Spool:
    """A directory of spool files; without `durable` they only pass bytes on to a queue that keeps them elsewhere."""

    def __init__(self, directory: str | os.PathLike[str], *, durable: bool = True) -> None:
        self.directory = Path(directory)
        self._folder = f"{self.directory}/"
        self._durable = durable
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._renamed = Together[None, None](self._fsync_directory)

    def write(self, prefix: bytes, body: bytes | BinaryIO) -> SpoolFile:
        """Write prefix and body (a file is read from its start); durable on return. Temporary `queue.full` on I/O errors."""
        name = f"{time.time_ns():x}-{secrets.token_hex(6)}"
        temporary, final = f"{self._folder}.{name}", f"{self._folder}{name}"
        try:
            size_bytes = self._write(temporary, prefix, body)
            os.rename(temporary, final)
            if self._durable:
                self._renamed.submit(None)
        except OSError as error:
            self.discard(temporary)
            self.discard(final)
            raise QueueError("queue.full", "the queue cannot store a message now", temporary=True) from error
        return SpoolFile(final, size_bytes)

    def discard(self, path: str) -> None:
        """Remove a file; one that is already gone is fine, one that cannot be removed now is left for `sweep`."""
        with suppress(OSError):
            os.unlink(path)

    def sweep(self, owned: Container[str]) -> int:
        """Remove old files whose paths no queue row owns; how many."""
        removed = 0
        limit = time.time() - _ORPHAN_SECONDS
        for entry in os.scandir(self.directory):
            if _modified(entry) < limit and entry.path not in owned:
                self.discard(entry.path)
                removed += 1
        return removed

    def _write(self, path: str, prefix: bytes, body: bytes | BinaryIO) -> int:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            size_bytes = _write_all(file.fileno(), prefix)
            if isinstance(body, bytes):
                size_bytes += _write_all(file.fileno(), body)
            else:
                body.seek(0)
                while chunk := body.read(_CHUNK_BYTES):
                    size_bytes += _write_all(file.fileno(), chunk)
            if self._durable:
                os.fsync(file.fileno())
        return size_bytes

    def _fsync_directory(self, renamed: Sequence[None]) -> Sequence[None]:
        """Once for all files that were renamed before."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return renamed


def _modified(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # its message has left meanwhile
        return math.inf


def _write_all(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(data)
