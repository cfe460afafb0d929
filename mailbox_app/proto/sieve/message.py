"""The message a script looks at: header, MIME parts and body text, each read when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.proto.header import Header
from mailbox_app.proto.message import scan
from mailbox_app.proto.mime import PartTable

Read = Callable[[int, int], bytes]
"""The bytes of the message from an offset on, at most so many: (offset, length)."""


class Message:
    """One message. What is not given is read from its bytes when a script first needs it."""

    def __init__(
        self,
        read: Read,
        size_bytes: int,
        *,
        header: Header | None = None,
        parts: PartTable | None = None,
        header_limit_bytes: int = 262_144,
        scan_limit_bytes: int = 8_388_608,
    ) -> None:
        self.read = read
        self.size_bytes = size_bytes
        self._header = header
        self._parts = parts
        self._header_limit_bytes = header_limit_bytes
        self._scan_limit_bytes = scan_limit_bytes

    @classmethod
    def of_bytes(cls, data: bytes) -> Message:
        """A message in memory."""
        return cls(lambda offset, length: data[offset : offset + length], len(data))

    @property
    def header(self) -> Header:
        """The message's own header as received."""
        if self._header is None:
            self._header = Header.parse(self.read(0, self._header_limit_bytes))
        return self._header

    @property
    def parts(self) -> PartTable:
        """Byte ranges of all parts; of an endless message those of its beginning."""
        if self._parts is None:
            self._parts = PartTable.decode(scan(self.read(0, min(self.size_bytes, self._scan_limit_bytes))).parts)
        return self._parts
