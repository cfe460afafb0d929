"""A real redis-server of the test's own: on a Unix socket, everything on the disk before it answers (AOF, fsync always).

`redis_server` is a fixture for `conftest`-less use: import it where it is wanted. Tests skip where the program is missing.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.client import Redis
from redis.exceptions import RedisError

_START_SECONDS = 20.0
PROGRAM = shutil.which("redis-server")


class RedisServer:
    """One server; its data outlives `kill` and `stop` until `destroy`."""

    def __init__(self, directory: Path, *options: str) -> None:
        if PROGRAM is None:
            pytest.skip("redis-server is not installed")
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self._socket_folder = Path(tempfile.mkdtemp(prefix="redis-"))  # tmp_path is longer than a socket's name may be
        self.socket = self._socket_folder / "r.sock"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self, **rest: object) -> Redis:
        return Redis.from_url(self.url, **rest)

    def start(self) -> RedisServer:
        """Running and its data loaded; later options win over earlier ones."""
        assert PROGRAM is not None
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory), "--save", "",
                   "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
                   *self._options]  # fmt: skip
        with open(self.directory / "redis.log", "ab") as log:
            self._process = subprocess.Popen([PROGRAM, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        with contextlib.closing(self.client()) as client:
            while True:
                with contextlib.suppress(RedisError):
                    if client.ping():
                        return self
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.directory / "redis.log").read_text())
                time.sleep(0.01)

    def kill(self) -> None:
        """As a crash of the machine's process: no chance to write anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def destroy(self) -> None:
        self._end(signal.SIGKILL)
        shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    try:
        yield server.start()
    finally:
        server.destroy()
