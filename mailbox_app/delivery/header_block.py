"""The header of a received message and the rest behind it, without copying a large message.

The header block includes its empty line. A block beyond the limit is refused: no honest message has one, and everything
that looks at headers holds them in memory.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

from mailbox_app.delivery.mail import Body
from mailbox_app.proto.smtp.replies import Refusal

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEADER_LIMIT_BYTES = 262_144


def read_header(body: Body) -> bytes:
    """The header block with its empty line (all of the message when it has none)."""
    start = body if isinstance(body, bytes) else os.pread(body.fileno(), HEADER_LIMIT_BYTES + 2, 0)
    if start.startswith(b"\r\n"):
        return b"\r\n"
    end = start.find(b"\r\n\r\n", 0, HEADER_LIMIT_BYTES + 2)
    if end >= 0:
        return start[: end + 4]
    if len(start) > HEADER_LIMIT_BYTES:
        raise Refusal(552, "5.3.4", "The message header is too large", reason="too_large")
    return start


def rest_behind(body: Body, offset: int) -> Body:
    """The content from an offset on: a copy in memory, a view of a file."""
    if isinstance(body, bytes):
        return body[offset:]
    return io.BufferedReader(Tail(body, offset), 65_536)


class Tail(io.RawIOBase):
    """Reads a file from an offset on, which is its position 0. Leaves the file's own position alone and the file open.

    It holds the file, so that the descriptor stays its own while a thread still reads.
    """

    def __init__(self, file: BinaryIO, offset: int) -> None:
        super().__init__()
        self._file = file
        self._descriptor = file.fileno()
        self._offset = offset
        self._position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += max(0, os.fstat(self._descriptor).st_size - self._offset)
        self._position = max(0, offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As files do."""
        view = memoryview(buffer).cast("B")
        count = os.preadv(self._descriptor, [view], self._offset + self._position)
        self._position += count
        return count
