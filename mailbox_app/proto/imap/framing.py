"""Cuts an IMAP byte stream into commands.

`feed` only stores; `next_event` returns an event or None when more bytes are needed. Each literal is announced first and
the consumer decides: `collect` it into the command, `stream` it out in pieces (APPEND), or `refuse` it. A refused or
overlong command is skipped to its real end, its non-synchronising literals included, so that their content is never
read as commands. Memory is bounded by `FramingLimits` plus what one `feed` brings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class FramingLimits:
    """Bounds on one command."""

    line_bytes: int = 65_536
    """RFC 7162 4 asks for 8,192 at least; clients that name every UID of a big mailbox need more."""
    literal_bytes: int = 131_072
    """A collected literal; message literals are streamed and not bounded here."""
    command_bytes: int = 262_144
    """The whole command with its collected literals."""
    literals: int = 64


@dataclass(frozen=True, slots=True)
class Complete:
    """A whole command without its line end; collected literals follow their `{n}` and CRLF.

    After a streamed literal only what followed it.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class Announced:
    """A literal comes: call `collect`, `stream` or `refuse` before the next `next_event`."""

    prefix: bytes
    """The command so far, up to the end of `{n}`."""
    size: int
    synchronising: bool
    """The peer waits for a continuation request."""
    binary: bool = False
    """A literal8, which may hold NUL. RFC 9051 9."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed literal; a literal of no bytes gives one empty piece."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Overlong:
    """A line beyond the limit; the rest of it is skipped."""

    prefix: bytes


Event = Complete | Announced | Chunk | Overlong

_LITERAL = re.compile(rb"(~?)\{(\d{1,19})(\+?)\}$")
_TAIL_BYTES = 24  # the longest literal announcement the pattern accepts, and its CR


class _State(IntEnum):
    LINE = 0
    DECIDE = 1
    COLLECT = 2
    STREAM = 3
    SKIP_LINE = 4
    SKIP_LITERAL = 5


class Framer:
    """One connection's input side."""

    __slots__ = ("_buffer", "_command", "_literals", "_remaining", "_scanned", "_state", "_synchronising", "limits")

    def __init__(self, limits: FramingLimits) -> None:
        self.limits = limits
        """May be replaced between commands."""
        self._buffer = bytearray()
        self._command = b""
        self._literals = 0
        self._scanned = 0
        self._remaining = 0
        self._synchronising = False
        self._state = _State.LINE

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out."""
        return len(self._buffer)

    @property
    def within_command(self) -> bool:
        """Whether a command has begun and is not complete."""
        return bool(self._buffer or self._command) or self._state is not _State.LINE

    def feed(self, data: bytes) -> None:
        """Store what the peer sent."""
        self._buffer += data

    def take_rest(self) -> bytes:
        """What came behind the command and was not looked at: from there on the bytes mean something else."""
        return self._take(len(self._buffer))

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed."""
        while True:
            state = self._state
            if state is _State.LINE:
                return self._line()
            if state is _State.STREAM:
                return self._stream_piece()
            if state is _State.COLLECT:
                if len(self._buffer) < self._remaining:
                    return None
                self._command += self._take(self._remaining)
                self._state = _State.LINE
            elif state is _State.SKIP_LITERAL:
                self._remaining -= len(self._take(min(self._remaining, len(self._buffer))))
                if self._remaining:
                    return None
                self._state = _State.SKIP_LINE
            elif state is _State.SKIP_LINE:
                if not self._skip_line():
                    return None
            else:
                raise AssertionError("an announced literal was not decided about")

    def collect(self) -> bool:
        """Take the announced literal into the command; False (and refused) when it breaks a limit."""
        limits = self.limits
        self._literals += 1
        too_much = (
            self._remaining > limits.literal_bytes
            or len(self._command) + self._remaining + 2 > limits.command_bytes
            or self._literals > limits.literals
        )
        if too_much:
            self.refuse()
            return False
        self._command += b"\r\n"
        self._state = _State.COLLECT
        return True

    def stream(self) -> None:
        """Give the announced literal out as chunks; the command's text starts anew behind it."""
        self._command = b""
        self._state = _State.STREAM

    def refuse(self) -> None:
        """Drop the command: a synchronising literal will not be sent, another is skipped with the rest."""
        self._reset()
        if not self._synchronising:
            self._state = _State.SKIP_LITERAL

    def refuse_undecided(self) -> None:
        """Drop the command if a literal was announced and nobody decided about it."""
        if self._state is _State.DECIDE:
            self.refuse()

    def _reset(self) -> None:
        self._command = b""
        self._literals = 0
        self._scanned = 0
        self._state = _State.LINE

    def _take(self, size: int) -> bytes:
        if size == len(self._buffer):  # a piece of a literal: no copy beside the one that is given out
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _line(self) -> Event | None:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            return self._overlong() if self._scanned > self.limits.line_bytes else None
        self._scanned = 0
        if end > self.limits.line_bytes or len(self._command) + end > self.limits.command_bytes:
            return self._overlong()
        line = self._take(end + 1)
        # A bare LF ends a line too: some old clients send it, and no meaning hides behind it.
        line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        command = self._command + line if self._command else line
        announced = _LITERAL.search(line) if line.endswith(b"}") else None
        if announced is None:
            self._reset()
            return Complete(command)
        self._command = command
        self._remaining = int(announced[2])
        self._synchronising = not announced[3]
        self._state = _State.DECIDE
        return Announced(command, self._remaining, self._synchronising, bool(announced[1]))

    def _overlong(self) -> Overlong:
        prefix = (self._command + bytes(self._buffer[:100]))[:100]
        self._reset()
        self._state = _State.SKIP_LINE
        return Overlong(prefix)

    def _stream_piece(self) -> Chunk | None:
        if self._remaining and not self._buffer:
            return None
        data = self._take(min(self._remaining, len(self._buffer)))
        self._remaining -= len(data)
        if not self._remaining:
            self._state = _State.LINE
        return Chunk(data, last=not self._remaining)

    def _skip_line(self) -> bool:
        """Whether the line's end was found; a non-synchronising literal at its end is skipped too."""
        end = self._buffer.find(b"\n")
        if end < 0:
            del self._buffer[: max(0, len(self._buffer) - _TAIL_BYTES)]
            return False
        tail = self._take(end + 1)[-_TAIL_BYTES - 1 :].rstrip(b"\r\n")
        announced = _LITERAL.search(tail)
        if announced and announced[3]:
            self._remaining = int(announced[2])
            self._state = _State.SKIP_LITERAL
        else:
            self._reset()
        return True
