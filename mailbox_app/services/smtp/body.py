"""The content of one message while it comes in: in memory while small, then in an unlinked file. Never both at length.

`add` is plain and quick; when it says so, `await spill()` writes what is held to the file, off the loop. An I/O error
is kept as `failed`, so that the caller can read the stream to its end and then answer.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

from mailbox_app.db.offload import Offload
from mailbox_app.delivery.mail import Body
from mailbox_app.services.smtp.limits import SmtpLimits


@dataclass(slots=True)
class MemoryBudget:
    """What all contents of one service hold in memory."""

    limits: SmtpLimits
    held_bytes: int = 0

    def bound(self) -> int:
        """Up to how many bytes a content may stay in memory now."""
        limits = self.limits
        return limits.memory_bytes if self.held_bytes <= limits.memory_total_bytes else limits.piece_bytes


class IncomingBody:
    """Collects content. Close it in any case."""

    __slots__ = ("_budget", "_chunks", "_directory", "_file", "_held", "_offload", "failed", "size_bytes")

    def __init__(self, directory: str, offload: Offload, budget: MemoryBudget) -> None:
        self._directory = directory
        self._offload = offload
        self._budget = budget
        self._chunks: list[bytes] = []
        self._held = 0
        self._file: BinaryIO | None = None
        self.failed: OSError | None = None
        self.size_bytes = 0

    def add(self, data: bytes) -> bool:
        """Take a chunk; True: now `spill`."""
        self._chunks.append(data)
        size = len(data)
        self.size_bytes += size
        self._held += size
        self._budget.held_bytes += size
        limit = self._budget.limits.piece_bytes if self._file else self._budget.bound()
        return self._held >= limit

    async def spill(self) -> None:
        """Move what is held to the file."""
        chunks, self._chunks = self._chunks, []
        try:
            if self.failed is None:
                await self._offload.run(self._write, chunks)
        except OSError as error:
            self.failed = error
        finally:
            self._release()

    async def whole(self) -> Body:
        """All of it: bytes, or the file. Raises the I/O error of an earlier `spill`."""
        if self._file is not None and self._chunks:
            await self.spill()
        if self.failed is not None:
            raise self.failed
        if self._file is not None:
            return self._file
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def drop(self) -> None:
        """Forget what is held: it will be refused."""
        self._chunks.clear()
        self._release()

    def close(self) -> None:
        """Free memory and file."""
        self.drop()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _release(self) -> None:
        self._budget.held_bytes -= self._held
        self._held = 0

    def _write(self, chunks: list[bytes]) -> None:
        if self._file is None:
            # Unnamed where the file system can (O_TMPFILE): nothing is left behind whatever happens.
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - `close` closes it
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._file.fileno(), view) :]
