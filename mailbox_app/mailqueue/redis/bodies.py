"""The messages' bytes of the queue in Redis: in pieces in Redis, larger ones as files in a directory that all nodes share.

Without a shared directory large messages are in Redis too: pieces keep every single command small, and a message that
was accepted by size is not refused for a missing directory. What a lease names is a local copy, 0600 and not synced, made when
recipients are leased and removed when they are settled or put back; copies of a process that died are removed at the next start.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from mailbox_app.errors import QueueError
from mailbox_app.mailqueue.holders import holder_lives, new_token

PIECE_BYTES = 262_144
_COPY = ".copy-"
_MARK = ".mailbox-queue"
"""In the shared directory, when it is the right one."""
_MAX_LISTED = 100_000


class RedisBodies:
    """Local copies in `directory`; files larger than `limit_bytes` go to `shared` when there is one."""

    def __init__(self, directory: Path, shared: Path | None, limit_bytes: int) -> None:
        self.directory = directory
        self.shared = shared
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._users: dict[str, set[str]] = {}
        self._used: dict[str, str] = {}
        self._own = new_token().replace(":", "-")

    def goes_to_shared(self, size_bytes: int) -> bool:
        """Whether a message of this size is kept as a file."""
        return self.shared is not None and size_bytes > self.limit_bytes

    def share(self, path: str, queue_id: str) -> str:
        """Copy a spool file to the shared directory, durable on return; its name there."""
        assert self.shared is not None
        temporary, final = self.shared / f".{queue_id}", self.shared / queue_id
        try:
            (self.shared / _MARK).touch(mode=0o600)
            with (
                open(path, "rb") as source,
                open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            ):
                shutil.copyfileobj(source, file, PIECE_BYTES)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, final)
            descriptor = os.open(self.shared, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise QueueError("queue.full", "the queue cannot store a message now", temporary=True) from error
        return queue_id

    def is_away(self, name: str) -> bool:
        """Whether a shared file cannot be seen because its directory is not there (not mounted), rather than lost."""
        return self.shared is None or not (os.path.exists(self.shared / name) or os.path.exists(self.shared / _MARK))

    def problem(self) -> str:
        """What is wrong with the shared directory, as a sentence; "" when nothing is."""
        if self.shared is None or os.access(self.shared, os.R_OK | os.W_OK | os.X_OK):
            return ""
        return f"The shared directory {self.shared} cannot be used, so large messages are refused and wait."

    def unshare(self, names: Iterable[str]) -> None:
        """Remove shared files whose messages have left; one that cannot be removed now stays for the operator to see."""
        for name in names:
            if self.shared is not None:
                with suppress(OSError):
                    os.unlink(self.shared / name)

    def read_shared(self, name: str, offset: int, limit_bytes: int) -> bytes:
        """A piece of a shared file; temporary `queue.unreadable`."""
        try:
            if self.shared is None:
                raise FileNotFoundError(name)
            with open(self.shared / name, "rb") as file:
                file.seek(offset)
                return file.read(limit_bytes)
        except OSError as error:
            raise QueueError("queue.unreadable", "the message's file cannot be read", temporary=True) from error

    def old_shared(self, seconds: float) -> list[str]:
        """Names of shared files that old: one without a message belongs to nobody."""
        if self.shared is None:
            return []
        limit = time.time() - seconds
        try:
            with os.scandir(self.shared) as entries:
                return [
                    entry.name
                    for entry in islice(entries, _MAX_LISTED)
                    if entry.name != _MARK and entry.stat().st_mtime < limit
                ]
        except OSError as error:
            raise QueueError("queue.unreadable", "the shared directory cannot be read", temporary=True) from error

    # local copies

    def path(self, queue_id: str) -> str:
        """Where this process has its copy of a message, if it has one."""
        return str(self.directory / f"{_COPY}{self._own}-{queue_id}")

    def shared_path(self, name: str) -> str:
        """A shared file is read where it is."""
        return str((self.shared or self.directory) / name)

    def use(self, token: str, queue_id: str) -> bool:
        """One lease more needs the copy; whether it is there already."""
        with self._lock:
            users = self._users.setdefault(queue_id, set())
            users.add(token)
            self._used[token] = queue_id
            return len(users) > 1 and os.path.exists(self.path(queue_id))

    def write(self, queue_id: str, pieces: Sequence[bytes]) -> None:
        """Make the copy, whole or not at all. Temporary `queue.full`."""
        final = self.path(queue_id)
        temporary = f"{final}.{threading.get_ident()}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for piece in pieces:
                    file.write(piece)
            os.rename(temporary, final)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise QueueError("queue.full", "a message cannot be read into a file now", temporary=True) from error

    def leave(self, token: str) -> None:
        """A lease needs the copy no more; the last one takes it along."""
        with self._lock:
            queue_id = self._used.pop(token, None)
            if queue_id is None:
                return
            self._users[queue_id].discard(token)
            if not self._users[queue_id]:
                del self._users[queue_id]
                with suppress(OSError):
                    os.unlink(self.path(queue_id))

    def sweep(self) -> None:
        """Remove copies that processes left behind which are no more."""
        for entry in os.scandir(self.directory):
            if entry.name.startswith(_COPY) and not holder_lives(entry.name[len(_COPY) :].replace("-", ":", 1)):
                with suppress(OSError):
                    os.unlink(entry.path)

    def close(self) -> None:
        """Remove the copies of this process."""
        with self._lock:
            for queue_id in self._users:
                with suppress(OSError):
                    os.unlink(self.path(queue_id))
            self._users.clear()
            self._used.clear()

    def __contains__(self, path: object) -> bool:
        """Whether a file of the spool's folder is a copy in use (`Spool.sweep`)."""
        return os.path.basename(str(path)).startswith(_COPY)
