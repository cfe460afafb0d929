"""The console on a real pseudo-terminal: it always gives the terminal back, and leaves when the terminal is gone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tui.daemon import Data, FixtureDaemon
from tests.tui.rig import Rig


@pytest.fixture
def socket(served: tuple[str, Callable[[int], None]]) -> str:
    """Where the fixture daemon listens."""
    return served[0]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A fixture daemon in a thread of its own: its socket, and what makes decisions come."""
    path = str(tmp_path / "control.sock")
    loop = asyncio.new_event_loop()
    daemon = FixtureDaemon(path, Data(hostile=True))
    ready = threading.Event()

    def serve() -> None:
        loop.run_until_complete(daemon.start())
        ready.set()
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait()

    def decide(count: int) -> None:
        daemon.data.door.decisions += count
        loop.call_soon_threadsafe(daemon.push)

    yield path, decide
    asyncio.run_coroutine_threadsafe(daemon.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def restored(raw: bytes) -> bool:
    """The alternate screen was left and the cursor shown, in this order after everything else."""
    return raw.rfind(b"\x1b[?1049l") > raw.rfind(b"\x1b[?1049h") and raw.rfind(b"\x1b[?25h") > raw.rfind(b"\x1b[?25l")


def test_sigterm_restores_the_terminal_and_no_data_reached_it(socket: str) -> None:
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.press("2")
        rig.until("LAST ANSWER")
        os.kill(rig.pid, signal.SIGTERM)
        assert rig.wait() == 128 + signal.SIGTERM
        assert restored(bytes(rig.raw))
        assert b"ZXZpbA" not in rig.raw.replace(b"52;c;ZXZpbA==", b"", 1) or b"\x1b]52" not in rig.raw
        assert b"\x1b]52" not in rig.raw
        assert "\u202e".encode() not in rig.raw
        assert b"\x1b[?1000h" not in rig.raw
        assert b"\x1b[?1003h" not in rig.raw
    finally:
        rig.close()


def test_a_cursor_move_costs_less_than_a_kilobyte(socket: str) -> None:
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.press("2")
        rig.until("LAST ANSWER")
        while rig.read(0.5):
            continue
        rig.press("j")
        before = len(rig.raw)
        while rig.text().splitlines()[6][:1] != ">":
            rig.read(0.02)
        assert len(rig.raw) - before < 1_000
    finally:
        rig.close()


def test_a_live_log_costs_less_than_eight_kilobytes_a_refresh(served: tuple[str, Callable[[int], None]]) -> None:
    socket, decide = served
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.press("3")
        rig.until("Live: what comes")
        while rig.read(0.5):
            continue
        before = len(rig.raw)
        decide(40)
        rig.until("2,350 decisions")
        while rig.read(0.5):
            continue
        assert len(rig.raw) - before < 8_000
        before = len(rig.raw)
        rig.press("j")
        rig.until_true(lambda: rig.text().splitlines()[6][:1] == ">")
        rig.read(0.1)
        assert len(rig.raw) - before < 2_000
    finally:
        rig.close()


def test_the_first_screen_is_sent_once(socket: str) -> None:
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.read(0.2)
        assert len(rig.raw) < 12_000
        assert rig.raw.count(b"palette") == 1
    finally:
        rig.close()


def test_plain_text_stands_outside_the_full_screen_until_enter(socket: str) -> None:
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.press("2")
        rig.until("LAST ANSWER")
        rig.press("\r")
        rig.until("ATTEMPTS")
        entered = rig.raw.count(b"\x1b[?1049h")
        rig.press("v")
        rig.until("-- enter returns to the console --")
        assert rig.raw.count(b"\x1b[?1049l") == 1
        plain = rig.raw[rig.raw.rfind(b"\x1b[?1049l") :]
        assert b"ATTEMPTS" in plain
        assert b"\x1b]52" not in plain
        assert "\u202e".encode() not in plain
        rig.press("\n")
        rig.until("v plain text")
        assert rig.raw.count(b"\x1b[?1049h") == entered + 1
        rig.press("q")
        rig.until("LAST ANSWER")
        rig.press("q")
        assert rig.wait() == 0
        assert restored(bytes(rig.raw))
    finally:
        rig.close()


def test_the_terminal_may_go_while_plain_text_is_shown(socket: str) -> None:
    rig = Rig(socket)
    try:
        rig.until("SERVICES")
        rig.press("v")
        rig.until("-- enter returns")
        rig.hang_up()
        assert rig.reap(5.0) == 128 + signal.SIGHUP
    finally:
        rig.close()


def test_q_leaves_with_0(socket: str) -> None:
    rig = Rig(socket, env={"TERM": "linux", "LANG": "C"})
    try:
        rig.until("SERVICES")
        rig.press("q")
        assert rig.wait() == 0
        assert restored(bytes(rig.raw))
        assert rig.raw.isascii()
    finally:
        rig.close()


@pytest.mark.parametrize("ignore_hup", [False, True], ids=["hang-up", "hang-up ignored"])
def test_a_lost_terminal_ends_the_console(socket: str, ignore_hup: bool) -> None:
    rig = Rig(socket, ignore_hup=ignore_hup)
    try:
        rig.until("SERVICES")
        rig.hang_up()
        assert rig.reap(5.0) == 128 + signal.SIGHUP
    finally:
        rig.close()


def test_no_color_sends_no_colour(socket: str) -> None:
    rig = Rig(socket, env={"TERM": "xterm-256color", "NO_COLOR": "1", "LANG": "C.UTF-8"})
    try:
        rig.until("SERVICES")
        rig.press("2")
        rig.until("LAST ANSWER")
        codes = {
            part
            for sequence in bytes(rig.raw).split(b"\x1b[")[1:]
            if (end := sequence.find(b"m")) >= 0
            for part in sequence[:end].split(b";")
        }
        assert not codes & {
            b"38",
            b"48",
            *(str(code).encode() for code in (*range(30, 38), *range(40, 48), *range(90, 98), *range(100, 108))),
        }
    finally:
        rig.close()


def run_without_terminal(env: dict[str, str], socket: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", "--socket", socket],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )


def test_without_a_terminal_it_says_so_and_exits_2(socket: str) -> None:
    done = run_without_terminal({}, socket)
    assert done.returncode == 2
    assert "ssh -t" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_dumb_terminal_is_refused(socket: str) -> None:
    rig = Rig(socket, env={"TERM": "dumb"})
    try:
        assert rig.wait() == 2
        assert b"mailbox status" in rig.raw
        assert b"\x1b" not in rig.raw
    finally:
        rig.close()


def test_starting_without_a_terminal_does_not_import_textual() -> None:
    code = "import sys, tui.main; assert tui.main.terminal_missing(); sys.exit('textual' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, timeout=20, check=False).returncode == 0
    )


def test_no_permission_is_one_line_and_77_before_the_screen_is_switched(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    code = (
        "import socket,sys\n"
        f"s=socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(); print('up', flush=True)\n"
        'c,_=s.accept(); c.sendall(b\'{"error": {"code": "control.not_permitted", "text": "no"}}\\n\'); c.close()\n'
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    rig = Rig(path)
    try:
        assert rig.wait() == 77
        assert b"mailserver-admin" in rig.raw
        assert b"\x1b[?1049h" not in rig.raw
    finally:
        rig.close()
        server.wait(5)
        server.stdout.close()


def test_a_crash_is_reported_without_local_variables(socket: str, tmp_path: Path) -> None:
    rig = Rig(socket, env={"TERM": "xterm-256color", "LANG": "C.UTF-8", "TMPDIR": str(tmp_path)}, crash=True)
    try:
        assert rig.wait() == 1
        assert restored(bytes(rig.raw))
        assert b"internal error" in rig.raw
        assert b"hunter2" not in rig.raw
        (report,) = tmp_path.glob("mailbox-console-*.txt")
        assert report.stat().st_mode & 0o777 == 0o600
        assert "hunter2" not in report.read_text(encoding="utf-8")
        assert "KeyError" in report.read_text(encoding="utf-8")
    finally:
        rig.close()
