"""Roles run, are forked again when they end, and stop in time. Real processes: each test drives a supervisor of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailbox_app.runtime.board import Board
from mailbox_app.runtime.notify import Notifier
from mailbox_app.runtime.supervisor import Role, Supervisor


class Daemon:
    """A supervisor in a child process, told apart by the files its roles write."""

    def __init__(self, folder: Path, mains: list[Callable[[Path], int]], *, drain_seconds: float = 5.0) -> None:
        self.folder = folder
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                board = Board([f"role-{index}" for index in range(len(mains))])

                def ready(index: int, main: Callable[[Path], int]) -> int:
                    board.mark_ready(index)
                    os.kill(os.getppid(), signal.SIGUSR1)
                    return main(folder)

                roles = [Role(f"role-{i}", lambda i=i, m=m: ready(i, m)) for i, m in enumerate(mains)]  # type: ignore[misc]
                supervisor = Supervisor(
                    roles,
                    board,
                    Notifier(),
                    on_ready=lambda: note(folder, "ready"),
                    on_stop=lambda: note(folder, "stop"),
                    reload=lambda: (folder / "valid").exists(),
                    drain_seconds=drain_seconds,
                )
                status = supervisor.run()
            finally:
                os._exit(status)

    def wait_for(self, name: str, count: int = 1) -> list[str]:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            path = self.folder / name
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) >= count:
                return lines
            time.sleep(0.005)
        raise AssertionError(f"{name} was not written {count} times")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return self.status()

    def status(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def note(folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


def obedient(folder: Path) -> int:
    """Ends at SIGTERM, notes SIGHUP."""
    signal.signal(signal.SIGHUP, lambda *_: note(folder, "reloaded"))
    note(folder, "running")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    while signal.sigtimedwait({signal.SIGTERM}, 0.05) is None:
        continue
    note(folder, "drained")
    return 0


def deaf(folder: Path) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, "running")
    while True:
        signal.pause()


def failing(folder: Path) -> int:
    note(folder, "failed")
    return 3


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    daemons: list[Daemon] = []

    def make(*mains: Callable[[Path], int], **options: float) -> Daemon:
        daemons.append(Daemon(tmp_path, list(mains), **options))
        return daemons[-1]

    yield make
    for each in daemons:
        if each.pid:
            each.end(signal.SIGKILL)


def test_ready_once_all_serve_and_a_stop_drains(start: Start) -> None:
    daemon = start(obedient, obedient)
    daemon.wait_for("ready")
    daemon.wait_for("running", 2)
    assert daemon.end() == 0
    assert len(daemon.wait_for("drained", 2)) == 2


def test_a_killed_role_is_forked_again(start: Start) -> None:
    daemon = start(obedient)
    (pid,) = daemon.wait_for("running")
    os.kill(int(pid), signal.SIGKILL)
    assert len(set(daemon.wait_for("running", 2))) == 2
    assert daemon.end() == 0


def test_a_deaf_role_is_killed_after_the_drain_time(start: Start) -> None:
    daemon = start(deaf, drain_seconds=0.1)
    daemon.wait_for("running")
    assert daemon.end() == 0


def test_a_second_stop_does_not_wait(start: Start) -> None:
    daemon = start(deaf, drain_seconds=60)
    daemon.wait_for("running")
    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait_for("stop")
    assert daemon.end(signal.SIGINT) == 0


def test_the_roles_die_with_the_supervisor(start: Start) -> None:
    daemon = start(deaf)
    (pid,) = daemon.wait_for("running")
    daemon.end(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_role_that_cannot_start_ends_the_daemon(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        roles = [Role("role", lambda: failing(tmp_path))]
        nothing = lambda: None  # noqa: E731
        supervisor = Supervisor(
            roles, Board(["role"]), Notifier(), on_ready=nothing, on_stop=nothing, reload=lambda: True
        )
        os._exit(supervisor.run())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert len((tmp_path / "failed").read_text().splitlines()) == 3


def test_a_reload_is_passed_on_only_when_valid(start: Start) -> None:
    daemon = start(obedient)
    daemon.wait_for("running")
    os.kill(daemon.pid, signal.SIGHUP)
    (daemon.folder / "valid").touch()
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_for("reloaded")
    assert daemon.end() == 0
