"""The core: hub, control socket, queue runner, metrics and health, regular work. There is one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from socket import socket
from typing import Any

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.load import load
from mailbox_app.config.paths import Paths
from mailbox_app.config.schema import Config
from mailbox_app.control.server import ControlServer
from mailbox_app.db.offload import Offload
from mailbox_app.errors import ConfigError, MailboxError
from mailbox_app.events.hub import HubServer
from mailbox_app.ids import AccountRef
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe.metrics import Metrics
from mailbox_app.runtime.process import Spawn
from mailbox_app.services.web.server import WebService

_RECOVER_SECONDS = 3600.0
_RELOAD_SECONDS = 5.0
_PURGE_PAUSE_SECONDS = 0.05
"""After each step, for those who want to write into the same account."""


class Reloader:
    """Reload asked for by an operator: checked here, then for every process through the supervisor's SIGHUP."""

    def __init__(self, paths: Paths, supervisor_pid: int, offload: Offload) -> None:
        self._paths = paths
        self._supervisor_pid = supervisor_pid
        self._offload = offload
        self._applied = asyncio.Event()

    def applied(self) -> None:
        """This process runs with the new configuration."""
        self._applied.set()

    async def reload(self) -> Config:
        """The new configuration, once this process has it; ConfigError changes nothing."""
        config = await self._offload.run(load, self._paths.config_file)
        self._applied.clear()
        os.kill(self._supervisor_pid, signal.SIGHUP)
        try:
            async with asyncio.timeout(_RELOAD_SECONDS):
                await self._applied.wait()
        except TimeoutError as error:
            raise ConfigError(
                "config.not_applied", "the configuration was not applied; the log says why", temporary=True
            ) from error
        return config


class Purge:
    """Removes expunged messages whose time is over, account by account, in small steps with pauses in between."""

    def __init__(
        self,
        refs: Callable[[], Sequence[AccountRef]],
        purge: Callable[[AccountRef], bool],
        offload: Offload,
        clock: Clock,
    ) -> None:
        self._refs = refs
        self._purge = purge
        self._offload = offload
        self._clock = clock
        self._log = structlog.get_logger("upkeep")

    async def run(self) -> None:
        """One round over all accounts; one that fails is logged and comes again in the next round."""
        for ref in await self._offload.run(self._refs):
            try:
                while await self._offload.run(self._purge, ref):
                    await self._clock.sleep(_PURGE_PAUSE_SECONDS)
            except (MailboxError, OSError) as error:
                self._log.warning("expunged mail stays longer", account_id=ref.account_id, reason=str(error))


class Upkeep:
    """What is done at intervals: the uptime gauge, leases and spool files nobody owns, expunged mail that is too old."""

    def __init__(
        self,
        recover: Callable[[], Coroutine[Any, Any, int]],
        purge: Purge,
        metrics: Metrics,
        clock: Clock,
        started_at: datetime,
    ) -> None:
        self._recover = recover
        self._purge = purge
        self._metrics = metrics
        self._clock = clock
        self._started_at = started_at
        self._log = structlog.get_logger("upkeep")

    def note_uptime(self) -> None:
        """Set the gauge to now; at each scrape."""
        self._metrics.uptime_seconds.set((self._clock.now() - self._started_at).total_seconds())

    async def run(self) -> None:
        """Until cancelled; a failure is logged and tried again. The queue runner has just recovered at our start."""
        while True:
            await self._clock.sleep(_RECOVER_SECONDS)
            try:
                await self._recover()
                await self._purge.run()
            except (MailboxError, OSError) as error:
                self._log.warning("upkeep failed, tried again later", reason=str(error))


class Core:
    """A `Part`. `hub` is None where one process is everything; `jobs` run until the end."""

    def __init__(
        self,
        hub: HubServer | None,
        control: ControlServer,
        runner: QueueRunner,
        web: WebService,
        jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]],
        reloader: Reloader,
        tls: TlsContexts,
        sockets: Sequence[tuple[str, socket]],
        apply_config: Callable[[Config], None],
        close_stores: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._control = control
        self._runner = runner
        self._web = web
        self._jobs = jobs
        self._reloader = reloader
        self._tls = tls
        self._sockets = sockets
        self._apply_config = apply_config
        self._close_stores = close_stores
        self._servers: list[asyncio.Server] = []
        self._running: asyncio.Task[None] | None = None

    async def start(self, spawn: Spawn) -> None:
        """Serve operators, run the queue."""
        if self._hub is not None:
            await self._hub.start()
        await self._control.start()
        self._running = spawn(self._runner.run())
        for job in self._jobs:
            spawn(job())
        loop = asyncio.get_running_loop()
        for _, sock in self._sockets:
            self._servers.append(await loop.create_server(self._web.factory, sock=sock))

    def reload(self, config: Config) -> None:
        """For what the core watches and tells; the queue's limits need a restart."""
        self._tls.reload(config.tls)
        self._apply_config(config)
        self._reloader.applied()

    async def stop(self, seconds: float) -> None:
        """Put running deliveries back, answer nobody any more."""
        for server in self._servers:
            server.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=seconds)
        await self._control.stop()
        if self._hub is not None:
            self._hub.close()

    def close(self) -> None:
        """Close the databases."""
        self._close_stores()
