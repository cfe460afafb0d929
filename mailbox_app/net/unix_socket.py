"""Unix sockets at any path. The kernel takes 107 bytes at most; a longer path goes through /proc/self/fd of its folder.

Errors are the OSErrors of bind and connect.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

_LONGEST_BYTES = 100


def listen(path: Path, *, mode: int = 0o600, backlog: int = 128) -> socket.socket:
    """A listening, non-blocking stream socket at the path; what was there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        old_mask = os.umask(0o777)  # nobody gets in before chmod has said who may
        try:
            _at(path, listener.bind)
        finally:
            os.umask(old_mask)
        path.chmod(mode)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path, *, timeout_seconds: float | None = 5.0) -> socket.socket:
    """A blocking connected stream socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        _at(path, connection.connect)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_nonblocking(path: Path) -> socket.socket:
    """A connected socket for an event loop; a Unix socket connects at once or not at all."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _at(path, connection.connect)
    except BaseException:
        connection.close()
        raise
    return connection


def _at(path: Path, action: Callable[[str], object]) -> None:
    if len(os.fsencode(path)) <= _LONGEST_BYTES:
        action(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        action(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
