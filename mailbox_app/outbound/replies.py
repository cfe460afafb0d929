"""SMTP replies as a client reads them, without any I/O: feed bytes, take replies.

A strange server can cost at most `_BUFFER_BYTES` of memory: longer lines or replies, lines that are no reply at all, and lines
of one reply that say yes and no are a `ProtocolError`. Reply text is made safe to log and to show: no control characters, at
most 512 characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError

_LINE_BYTES = 4_096
"""RFC 5321 4.5.3.1.5 allows 512; EHLO lines and links in refusals are often longer."""
_REPLY_BYTES = 65_536
_BUFFER_BYTES = 1_048_576
"""Unread replies: those to a hundred pipelined recipients may come at once."""
_TEXT_CHARACTERS = 512
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply."""

    code: int
    lines: Sequence[str]
    """The text of each line, cleaned."""

    @property
    def enhanced(self) -> str:
        """The enhanced status (RFC 2034), made up from the code's class when the server gave none that fits it."""
        found = _ENHANCED.match(self.lines[0])
        if found and found[1] == str(self.code)[0]:
            return found[0].strip()
        return f"{self.code // 100}.0.0"

    @property
    def text(self) -> str:
        """All lines in one, as a person would read it."""
        return clean(" ".join(line for line in self.lines if line))

    @property
    def positive(self) -> bool:
        """2xx."""
        return self.code // 100 == 2


class ReplyReader:
    """Collects bytes and yields whole replies."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._class = b""
        """The first digit of the lines so far."""
        self._bytes = 0

    @property
    def pending(self) -> bool:
        """Whether bytes wait that no taken reply has used."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """Add what the server sent."""
        self._buffer += data
        if len(self._buffer) > _BUFFER_BYTES:
            raise _bad_reply("the server's reply is too long")

    def next_reply(self) -> Reply | None:
        """The next whole reply; None: more bytes are needed."""
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            self._bytes += len(line)
            if end > _LINE_BYTES or self._bytes > _REPLY_BYTES:
                raise _bad_reply("the server's reply is too long")
            found = _LINE.fullmatch(line)
            if found is None:
                raise _bad_reply("the server's answer is no SMTP reply")
            if self._lines and found[1][:1] != self._class:  # RFC 5321 4.2.1: the code is the same on every line
                raise _bad_reply("the lines of the server's answer contradict each other")
            self._class = found[1][:1]
            self._lines.append(clean((found[3] or b"").decode("utf-8", "replace")))
            if found[2] != b"-":
                reply = Reply(int(found[1]), tuple(self._lines))
                self._lines, self._bytes = [], 0
                return reply
        if len(self._buffer) > _LINE_BYTES:
            raise _bad_reply("the server's reply is too long")
        return None


def clean(text: str) -> str:
    """Without control characters, at most 512 characters."""
    text = text[:_TEXT_CHARACTERS]
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def _bad_reply(why: str) -> ProtocolError:
    return ProtocolError("smtp.bad_reply", why)
