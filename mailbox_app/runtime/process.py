"""The life of one process of the daemon: start its parts on one loop, serve, reload at SIGHUP, drain at SIGTERM.

Crash-only: a part's task that ends with an error ends the process, and the supervisor starts it anew.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

import structlog
import uvloop

from mailbox_app.config.load import load
from mailbox_app.config.schema import Config
from mailbox_app.errors import MailboxError
from mailbox_app.observe import log, metrics
from mailbox_app.runtime.daemon import Daemon
from mailbox_app.runtime.notify import Notifier

DRAIN_SECONDS = 8.0
"""Below the supervisor's 10 s, so that what was cut off is still put back and logged."""


Spawn = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]
"""Starts work that lives as long as the process."""


class Part(Protocol):
    """A front or the core."""

    async def start(self, spawn: Spawn) -> None:
        """Serve from now on; background work is handed to `spawn`."""
        ...

    def reload(self, config: Config) -> None:
        """A new, valid configuration; ConfigError changes nothing."""
        ...

    async def stop(self, seconds: float) -> None:
        """Say goodbye to everybody and put back what was begun, within that time."""
        ...

    def close(self) -> None:
        """Let go of files and threads; after every part has stopped."""
        ...


Build = Callable[[asyncio.AbstractEventLoop], Sequence[Part]]


def run(
    daemon: Daemon, index: int, build: Build, on_ready: Callable[[], None], notifier: Notifier | None = None
) -> int:
    """Be the process with this row on the board; the exit status. `on_ready` is called once everything is served.

    `notifier` is given where no supervisor speaks to the service manager.
    """
    role = daemon.board.roles[index]
    log.configure(level=daemon.config.log.level, form=daemon.config.log.format, role=role)
    if daemon.metrics_dir is not None:
        metrics.share(daemon.metrics_dir, role)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Life(daemon, index, notifier).live(build, on_ready))


class _Life:
    def __init__(self, daemon: Daemon, index: int, notifier: Notifier | None) -> None:
        self._daemon = daemon
        self._notifier = notifier
        self._index = index
        self._role = daemon.board.roles[index]
        self._log = structlog.get_logger("runtime")
        self._end = asyncio.Event()
        self._failed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._parts: Sequence[Part] = ()

    async def live(self, build: Build, on_ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            self._parts = build(loop)
            for part in self._parts:
                await part.start(self._spawn)
        except MailboxError as error:
            self._log.error("cannot start", reason=error.public_text, code=error.code)
            return 1
        except Exception:  # noqa: BLE001 - the last frame of this process: told in the log, then started anew
            self._log.exception("cannot start")
            return 1
        self._daemon.board.mark_ready(self._index)
        on_ready()
        if self._notifier is not None and self._notifier.watchdog_seconds:
            self._spawn(_keep_alive(self._notifier))
        await self._end.wait()
        if self._notifier is not None:
            self._notifier.stopping()
        await self._stop()
        return 1 if self._failed else 0

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        if error := task.exception():
            self._log.error("background work failed", exc_info=error)
            self._failed = True
            self._end.set()

    def _reload(self) -> None:
        if self._notifier is not None:
            self._notifier.reloading()
        self._take_new_config()
        if self._notifier is not None:
            self._notifier.ready("running")

    def _take_new_config(self) -> None:
        try:
            config = load(self._daemon.paths.config_file)
            for part in self._parts:
                part.reload(config)
        except MailboxError as error:
            self._log.error("reload refused, nothing changed", reason=error.public_text)
            return
        log.configure(level=config.log.level, form=config.log.format, role=self._role)
        self._log.info("reloaded")

    async def _stop(self) -> None:
        await asyncio.gather(*(part.stop(DRAIN_SECONDS) for part in self._parts))
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        for part in reversed(self._parts):
            part.close()


async def _keep_alive(notifier: Notifier) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(notifier.watchdog_seconds / 2)
