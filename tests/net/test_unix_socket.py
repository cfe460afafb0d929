"""A socket works at any path and is never open to more than its mode says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailbox_app.net import unix_socket


@pytest.mark.parametrize("name", ["run", "a-folder-with-a-very-long-name-" * 5])
def test_bind_and_connect_at_short_and_long_paths(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "control.sock"
    path.parent.mkdir()
    for _ in range(2):  # the second replaces what a killed process left
        with unix_socket.listen(path, mode=0o660) as listener:
            assert path.stat().st_mode & 0o777 == 0o660
            with unix_socket.connect(path) as client:
                client.sendall(b"x")
                listener.setblocking(True)
                server, _ = listener.accept()
                with server:
                    assert server.recv(1) == b"x"


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unix_socket.connect(tmp_path / "none.sock")
