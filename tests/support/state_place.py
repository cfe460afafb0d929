"""Where the policy's memory lies: `state.db`, or a Redis that nodes share. The tests of each subject run on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Queue
from mailbox_app.db.redis import RedisLink
from mailbox_app.db.sqlite import Database
from mailbox_app.db.state_schema import open_state
from tests.support.redis import RedisServer

T = TypeVar("T")


class StatePlace:
    """Each call of `make` opens it as one more process would. `fail` takes it away from all, `recover` brings it back."""

    def __init__(self, path: Path, server: RedisServer | None) -> None:
        self.path = path / "state.db"
        self.server = server
        self._opened: list[Database | RedisLink] = []

    @property
    def is_redis(self) -> bool:
        return self.server is not None

    def make(self, sqlite: Callable[[Database, Any], T], shared: Callable[[RedisLink, Any], T], clock: Clock) -> T:
        """One subject in a process of its own."""
        if self.server is None:
            database = open_state(self.path)
            self._opened.append(database)
            return sqlite(database, clock)
        link = self.link(clock)
        return shared(link, clock)

    def link(self, clock: Clock) -> RedisLink:
        """One more process's way to Redis."""
        assert self.server is not None
        link = RedisLink(Queue(redis_url=self.server.url), clock)
        self._opened.append(link)
        return link

    def fail(self) -> None:
        if self.server is not None:
            self.server.kill()
        else:
            self.close()

    def recover(self) -> None:
        """Redis only."""
        assert self.server is not None
        self.server.start()

    def renew(self) -> None:
        """Everything is forgotten."""
        self.close()
        if self.server is not None:
            with self.server.client() as client:
                client.flushall()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def close(self) -> None:
        for each in self._opened:
            each.close()
        self._opened.clear()


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StatePlace]:
    server = RedisServer(tmp_path / "redis").start() if request.param == "redis" else None
    made = StatePlace(tmp_path, server)
    yield made
    made.close()
    if server is not None:
        server.destroy()
