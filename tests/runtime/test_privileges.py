"""Root only for the ports; a lock nobody else gets; what the service manager is told."""

from __future__ import annotations

import os
import pwd
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailbox_app.errors import ConfigError
from mailbox_app.runtime import data_lock, privileges
from mailbox_app.runtime.board import Board
from mailbox_app.runtime.notify import Notifier

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def in_child(action: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
def test_root_becomes_the_user_for_good_and_the_folders_are_its_own(open_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    data = open_folder / "deep" / "data"

    def become() -> None:
        privileges.make_folders([(data, 0o750)], "nobody")
        (data / "early").touch()
        privileges.drop("nobody", [data / "early"])
        privileges.no_new_privileges()
        assert os.getresuid() == (nobody.pw_uid,) * 3
        assert os.getresgid() == (nobody.pw_gid,) * 3
        assert 0 not in os.getgroups()
        assert "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
        (data / "late").touch()
        with pytest.raises(PermissionError):
            os.setuid(0)

    assert in_child(become) == 0
    assert data.stat().st_uid == (data / "early").stat().st_uid == nobody.pw_uid
    assert data.stat().st_mode & 0o777 == 0o750
    assert (data / "late").stat().st_mode & 0o077 == 0


@needs_root
def test_an_empty_folder_of_root_becomes_the_users_and_a_full_one_is_told_about(open_folder: Path) -> None:
    empty, full = open_folder / "empty", open_folder / "full"
    empty.mkdir()
    full.mkdir()
    (full / "something").touch()

    def become() -> None:
        privileges.make_folders([(empty, 0o750), (full, 0o750)], "nobody")
        privileges.drop("nobody")
        privileges.require_writable(empty)
        (empty / "new").touch()
        with pytest.raises(ConfigError, match=f"chown -R nobody {full}"):
            privileges.require_writable(full)

    assert in_child(become) == 0
    assert full.stat().st_uid == 0


def test_an_unknown_user_leaves_us_as_we_are(tmp_path: Path) -> None:
    def stay() -> None:
        uid = os.geteuid()
        privileges.drop("no-such-user-here")
        assert os.geteuid() == uid

    assert in_child(stay) == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made: Not a directory"):
        privileges.make_folders([(tmp_path / "file" / "data", 0o750)], "mailserver")


def test_the_lock_is_one_holders_until_the_last_copy_is_closed(tmp_path: Path) -> None:
    held = data_lock.acquire(tmp_path)
    assert held is not None
    assert data_lock.acquire(tmp_path) is None
    os.close(held)
    again = data_lock.acquire(tmp_path)
    assert again is not None
    os.close(again)


def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        notifier = Notifier()
        assert notifier.watchdog_seconds == 30
        notifier.ready("running")
        assert manager.recv(500).decode().split("\n") == ["READY=1", "STATUS=running", f"MAINPID={os.getpid()}"]
        notifier.reloading()
        assert manager.recv(500).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.stopping()
        assert manager.recv(500) == b"STOPPING=1"
    notifier.alive()  # nobody listens any more: no error


def test_the_board_is_seen_by_all_processes() -> None:
    board = Board(["front-1", "core"])
    board.started(1, 42, 1000.5, 3)
    assert in_child(lambda: board.mark_ready(1)) == 0
    assert [(row.role, row.pid, row.restarts, row.ready) for row in board.rows()] == [
        ("front-1", 0, 0, False),
        ("core", 42, 3, True),
    ]
    board.ended(1)
    assert (board.row(1).pid, board.row(1).restarts, board.row(1).ready) == (0, 3, False)
