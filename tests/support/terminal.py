"""Drives a full-screen program on a pseudo-terminal: press keys, wait for words on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping

import pyte

ROWS, COLUMNS = 30, 100
WAIT_SECONDS = 30.0


class Terminal:
    """A program and its screen; a context manager that ends it."""

    def __init__(self, *command: object, env: Mapping[str, str] | None = None) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._code: int | None = None
        words = [str(word) for word in command]
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words, {**os.environ, "TERM": "linux", "LANG": "C.UTF-8", **(env or {})})
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *details: object) -> None:
        if self._code is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._descriptor)

    def text(self) -> str:
        """The screen now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def until(self, condition: str | Callable[[str], bool]) -> None:
        """Wait for words on the screen."""
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = condition if callable(condition) else lambda text: condition in text
        while not wanted(self.text()):
            assert time.monotonic() < deadline, f"waited for {condition!r}; the screen is\n{self.text()}"
            assert self._read(0.1), f"it ended; waited for {condition!r}; the screen is\n{self.text()}"

    def press(self, keys: str, then: str | Callable[[str], bool] | None = None) -> None:
        """Type, and wait for what must appear."""
        os.write(self._descriptor, keys.encode())
        if then is not None:
            self.until(then)

    def end(self) -> int:
        """Wait until it ended; its exit code."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._read(0.1):
            assert time.monotonic() < deadline, f"it does not end; the screen is\n{self.text()}"
        _, status = os.waitpid(self.pid, 0)
        self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def _read(self, seconds: float) -> bool:
        """Whether it still has its terminal."""
        if select.select([self._descriptor], [], [], seconds)[0]:
            try:
                data = os.read(self._descriptor, 65_536)
            except OSError:  # the last holder closed it
                return False
            if not data:
                return False
            self._stream.feed(data)
        return True
