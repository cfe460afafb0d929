"""Durable writes into an account's folders, and what the file system's refusals mean.

Files appear whole or not at all (temporary name, fsync, rename, fsync of the directory). `DiskErrors` turns an OSError
into a temporary `StoreError`: local trouble is never a permanent answer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType

from mailbox_app.errors import StoreError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
_MAX_VECTOR_BYTES = 1 << 30


@contextmanager
def readable_at_least() -> Iterator[None]:
    """For what readers bring up to date on their way: when nothing can be written now, they go on with what is there."""
    try:
        with DiskErrors():
            yield
    except StoreError as error:
        if error.code not in {"store.full", "store.busy"}:
            raise


class DiskErrors:
    """A context that raises `store.full` or `store.failed` instead of an OSError."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise translated(error) from error


def translated(error: OSError) -> StoreError:
    """The `StoreError` an OSError stands for."""
    fields = {"errno": errno.errorcode.get(error.errno or 0, "?")}
    if error.errno in _FULL:
        return StoreError("store.full", "storage is full or not writable now", temporary=True, fields=fields)
    return StoreError("store.failed", "storage failed", temporary=True, fields=fields)


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: str) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def start_writing(descriptor: int) -> None:
    """Have the bytes sent to the disk without waiting for it: an fsync that comes later waits for less."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_all(descriptor: int, pieces: Sequence[bytes]) -> int:
    """Write every byte of the pieces; how many. One system call when the kernel takes it all."""
    total = sum(map(len, pieces))
    written = os.writev(descriptor, pieces) if total <= _MAX_VECTOR_BYTES else 0
    if written < total:
        view = memoryview(b"".join(pieces))[written:]
        while view:
            view = view[os.write(descriptor, view) :]
    return total


def write_durably(directory: str, name: str, data: bytes) -> None:
    """Replace `directory/name` by a file with these bytes."""
    final = os.path.join(directory, name)
    temporary = f"{final}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, [data])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, final)
    fsync_directory(directory)


def make_maildir(path: str) -> None:
    """`cur`, `new` and `tmp` (and the folder itself), durable."""
    os.makedirs(path, 0o700, exist_ok=True)
    for part in ("cur", "new", "tmp"):
        with suppress(FileExistsError):
            os.mkdir(os.path.join(path, part), 0o700)
    fsync_directory(path)
    fsync_directory(os.path.dirname(path))


def unlink_quietly(path: str) -> None:
    """Remove a file that may be gone; trouble leaves it for the next clean-up, which looks for such files."""
    with suppress(OSError):
        os.unlink(path)


def file_stamp(path: str) -> tuple[int, int, int]:
    """What differs when a file or directory was written to, grew or was replaced; zeros when it is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def mtime_of(path: str) -> int:
    """A directory's time of change in nanoseconds; 0 when it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0
