"""The console on a pseudo-terminal: keys in, bytes out, the screen rebuilt by an emulator. Also measures:
`python -m tests.tui.rig SOCKET`."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import termios
import time
from collections.abc import Callable

import pyte

RGB = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}


CRASH = """
import sys
from tui.main import main
from tui.screens.home import HomeScreen
def broken(self, now):
    password = "hunter2"
    raise KeyError(password)
HomeScreen.tick = broken
sys.exit(main())
"""


class Rig:
    """One console process on its own pty."""

    def __init__(
        self,
        socket: str,
        *,
        columns: int = 80,
        rows: int = 24,
        env: dict[str, str] | None = None,
        ignore_hup: bool = False,
        crash: bool = False,
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        self.started = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if ignore_hup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            base = {
                name: value
                for name, value in os.environ.items()
                if name not in {"TMUX", "NO_COLOR", "LC_ALL", "LC_CTYPE"}
            }
            command = [sys.executable, "-m", "tui", "--socket", socket]
            if crash:
                command = [sys.executable, "-c", CRASH, "--socket", socket]
            os.execve(sys.executable, command, {**base, **(env or RGB)})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # A child forked later must not inherit the master: it would hide the hang-up.
        os.set_inheritable(self.fd, False)
        self.status: int | None = None

    def read(self, seconds: float) -> bytes:
        """What comes within this time."""
        got = bytearray()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self.fd], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            got += data
            self.raw += data
            # pyte does not know the kitty keyboard sequences; they are not part of the picture.
            self.stream.feed(data.replace(b"\x1b[>25u", b"").replace(b"\x1b[<u", b""))
        return bytes(got)

    def until(self, text: str, seconds: float = 15.0) -> float:
        """Wait until a text stands on the screen; the seconds it took."""
        start = time.monotonic()
        while text not in self.text():
            if time.monotonic() - start > seconds:
                raise AssertionError(f"{text!r} did not appear:\n{self.text()}")
            self.read(0.02)
        return time.monotonic() - start

    def until_true(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        """Read until it holds of the screen."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not become true:\n{self.text()}")
            self.read(0.02)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def wait(self, seconds: float = 15.0) -> int:
        """The exit code; output is drained meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                self.read(0.05)
                return os.waitstatus_to_exitcode(status)
            self.read(0.02)
        raise AssertionError("the console did not end")

    def hang_up(self) -> None:
        """Close the terminal under the console."""
        os.close(self.fd)
        self.fd = -1

    def reap(self, seconds: float = 15.0) -> int:
        """The exit code after a hang-up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
                return os.waitstatus_to_exitcode(status)
            select.select([], [], [], 0.02)
        raise AssertionError("the console did not end")

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.fd >= 0:
            os.close(self.fd)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(socket: str, columns: int, rows: int) -> None:
    paints, sent = [], 0
    for _ in range(5):
        rig = Rig(socket, columns=columns, rows=rows)
        rig.until("smtp")
        paints.append(time.monotonic() - rig.started)
        rig.read(0.4)
        sent = len(rig.raw)
        rig.close()
    say(
        f"{columns}x{rows} first paint: median {statistics.median(paints):.3f} s, max {max(paints):.3f} s, {sent} bytes"
    )
    rig = Rig(socket, columns=columns, rows=rows)
    rig.until("smtp")
    rig.read(1.0)
    say(f"home: {sum(len(rig.read(1.0)) for _ in range(6)) / 6:.0f} bytes/s")
    rig.press("2")
    rig.until("LAST ANSWER")
    rig.read(1.5)
    say(f"queue untouched: {sum(len(rig.read(1.0)) for _ in range(6)) / 6:.0f} bytes/s")
    for name, keys in (("down", ["j"] * 8), ("page down", ["\x04"] * 4)):
        sizes, times = [], []
        for key in keys:
            rig.read(0.25)
            start = time.monotonic()
            rig.press(key)
            select.select([rig.fd], [], [], 1.0)
            times.append((time.monotonic() - start) * 1000)
            sizes.append(len(rig.read(0.12)))
        spread = f"{statistics.median(times):.1f} ms, max {max(times):.1f}"
        say(f"{name}: median {statistics.median(sizes):.0f} bytes, max {max(sizes)}; {spread}")
    with open(f"/proc/{rig.pid}/status", encoding="ascii") as status:
        say(next(line.strip() for line in status if line.startswith("VmRSS")))
    start = time.monotonic()
    rig.press("q")
    say(f"quit with {rig.wait()} after {time.monotonic() - start:.3f} s")
    rig.close()


if __name__ == "__main__":
    for size in ((80, 24), (120, 40)):
        measure(sys.argv[1], *size)
