"""The way to the Redis that several nodes share: one `RedisLink` per process, made after the fork, safe from any thread.

Everything blocks, for two seconds at most, so it is called through `offload`. After a failure nobody asks for a few seconds: what
would wait is refused at once, so that a dead Redis costs a message nothing. One caller tries then; when it works, all do.
Trouble becomes a temporary `StoreError`: `redis.unreachable` (no connection, no answer in time; whether a write happened is not
known) or `redis.refused` (it answered with an error, such as full memory). The library is loaded where Redis is used only.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Queue
from mailbox_app.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from redis.client import Redis

T = TypeVar("T")
CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
PAUSE_SECONDS = 3.0
"""After a failure, until somebody tries again."""
_MAX_CONNECTIONS = 64
_MAX_PASSWORD_BYTES = 4_096
UNREACHABLE = "the Redis server that the nodes share cannot be reached"


class RedisLink:
    """Connections to the server that `[queue]` names, and what is known about it."""

    def __init__(self, settings: Queue, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._down_since: float | None = None
        self._try_at = 0.0
        self._closed = False
        self.failure_count = 0
        """How often it did not answer."""
        self._log = structlog.get_logger("redis")
        self._prefix = settings.redis_prefix
        self._client = connect(settings)

    @property
    def is_up(self) -> bool:
        """Whether the last answer came."""
        return self._down_since is None

    def key(self, *names: str) -> str:
        """A key of ours."""
        return ":".join((self._prefix, *names))

    def call(self, work: Callable[[Redis], T]) -> T:
        """What `work` makes of the client. Raises `StoreError`, at once while the server is known to be away."""
        if self._down_since is not None:
            self._wait_for_turn()
        return self._try(work)

    def script(self, text: str) -> Callable[[Sequence[str], Sequence[Any]], Any]:
        """A Lua script as a function of keys and arguments; sent whole only where the server does not know it."""
        registered = self._client.register_script(text)

        def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            return self.call(lambda _: registered(keys=list(keys), args=list(args)))

        return run

    def together(self, *commands: Sequence[str | bytes | float]) -> list[Any]:
        """The answers of commands between which nobody comes. Raises `StoreError`."""

        def work(client: Redis) -> list[Any]:
            pipeline = client.pipeline(transaction=True)
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return list(pipeline.execute())

        return self.call(work)

    def check(self) -> None:
        """Ask whether it is there, also while nobody else does. Raises `StoreError`."""
        self._try(lambda client: client.ping())

    def close(self) -> None:
        """Close the connections; the link is of no more use."""
        self._closed = True
        self._client.close()

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = self._clock.monotonic_seconds()
            if self._down_since is None:
                return
            if now < self._try_at:
                raise StoreError("redis.unreachable", UNREACHABLE, temporary=True)
            self._try_at = now + PAUSE_SECONDS  # this caller tries, the others go on without

    def _try(self, work: Callable[[Redis], T]) -> T:
        try:
            result = self.aside(work)
        except StoreError as error:
            if error.code == "redis.unreachable":
                self._failed(error.__cause__ or error)
            raise
        if self._down_since is not None:
            self._worked()
        return result

    def aside(self, work: Callable[[Redis], T]) -> T:
        """Like `call`, but whatever comes of it says nothing about the server: for waiting until somebody publishes."""
        from redis.exceptions import ConnectionError as NoConnection
        from redis.exceptions import RedisError
        from redis.exceptions import TimeoutError as NoAnswer

        if self._closed:
            raise StoreError("store.closed", "the server is stopping", temporary=True)
        try:
            return work(self._client)
        except (NoConnection, NoAnswer, OSError) as error:
            raise StoreError("redis.unreachable", UNREACHABLE, temporary=True) from error
        except RedisError as error:
            raise StoreError(
                "redis.refused", "the Redis server that the nodes share refuses", temporary=True,
                fields={"answer": str(error)[:200]},
            ) from error  # fmt: skip

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            self.failure_count += 1
            now = self._clock.monotonic_seconds()
            is_news = self._down_since is None
            if is_news:
                self._down_since = now
            self._try_at = now + PAUSE_SECONDS
        self._client.connection_pool.disconnect(inuse_connections=False)
        if is_news:
            self._log.error("redis_unreachable", reason=f"{type(error).__name__}: {str(error)[:200]}")

    def _worked(self) -> None:
        with self._lock:
            since, self._down_since = self._down_since, None
        if since is not None:
            self._log.warning("redis_back", away_seconds=round(self._clock.monotonic_seconds() - since, 1))


def connect(settings: Queue, **options: Any) -> Redis:
    """A client that never waits longer than it may and never tries twice by itself; no connection is made yet.

    `ConfigError` when the address or the password's file is not usable.
    """
    from redis.backoff import NoBackoff
    from redis.client import Redis
    from redis.connection import ConnectionPool
    from redis.retry import Retry

    values: dict[str, Any] = {
        "max_connections": _MAX_CONNECTIONS,
        "socket_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # a script that was perhaps carried out is not sent again
        "protocol": 2,
        "driver_info": None,
        **options,
    }
    if settings.redis_password_file:
        values["password"] = password(settings.redis_password_file)
    if not settings.redis_url.startswith("unix://"):
        values["socket_connect_timeout"] = CONNECT_SECONDS
        values["socket_keepalive"] = True
    if settings.redis_url.startswith("rediss://") and settings.redis_ca_file:
        values["ssl_ca_certs"] = settings.redis_ca_file
    try:
        return Redis(connection_pool=ConnectionPool.from_url(settings.redis_url, **values))
    except ValueError as error:
        raise ConfigError("redis.bad_url", f"queue.redis_url is no address of a Redis server: {error}") from error


def password(path: str) -> str:
    """The first line of the file, which nobody but its owner may read."""
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(
                    "redis.open_password", f"queue.redis_password_file {path} can be read by others: chmod 600 {path}"
                )
            text = file.read(_MAX_PASSWORD_BYTES)
    except OSError as error:
        raise ConfigError(
            "redis.no_password", f"queue.redis_password_file {path} cannot be read: {error.strerror}"
        ) from error
    try:
        return text.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError("redis.no_password", f"queue.redis_password_file {path} is no text") from error
