"""From a configuration file to a running daemon in the foreground.

Order: read and check the file, make the folders, take the data folder's lock, bind the ports, drop root, make the
databases, fork. Everything before the fork that fails is one sentence on standard error and an exit status; afterwards the log
speaks. Every module the roles need is imported here, so that all processes share its pages.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from socket import socket

import structlog
from msgspec import structs

from mailbox_app.config.load import load
from mailbox_app.config.paths import Paths, config_path, resolve
from mailbox_app.config.schema import Config
from mailbox_app.errors import ConfigError, MailboxError
from mailbox_app.mailauth import organizations
from mailbox_app.mailqueue import opening
from mailbox_app.net import unix_socket
from mailbox_app.net.listeners import Listener, bind_all, close_all
from mailbox_app.net.tls import TlsContexts
from mailbox_app.observe import log
from mailbox_app.observe.metrics import clear_shared
from mailbox_app.runtime import data_lock, memory, privileges, process, wiring
from mailbox_app.runtime.board import Board
from mailbox_app.runtime.daemon import CORE_SERVICES, FRONT_SERVICES, Daemon
from mailbox_app.runtime.notify import Notifier
from mailbox_app.runtime.shared_state import check_redis
from mailbox_app.runtime.supervisor import Role, Supervisor

_EXIT_FAILED = 1
_EXIT_BUSY = 75
_EXIT_NOT_PERMITTED = 77
_COLLECTED = (5_000, 20, 20)
"""How many new objects make the collector look. A message makes some 2,000 and leaves no cycles behind, so 700 is a look or two
at all that is young for each."""
_NEEDS_RESTART = ("server", "listen", "dns", "delivery", "queue", "proxy", "lmtp")


def start(given_config: str | None, *, single: bool) -> int:
    """Run the daemon until it is told to stop; the exit status."""
    config_file = config_path(given_config)
    try:
        config = load(config_file)
        paths = resolve(config, config_file)
        log.configure(level=config.log.level, form=config.log.format, role="supervisor")
        _make_folders(config, paths)
        if os.geteuid():
            privileges.require_writable(paths.data_dir)
        lock = data_lock.acquire(paths.data_dir)
        if lock is None:
            return _refuse(f"another daemon uses {paths.data_dir}; stop it first", _EXIT_BUSY)
        daemon = _prepare(config, paths, single=single)
    except ConfigError as error:
        status = _EXIT_NOT_PERMITTED if error.code.endswith(".not_permitted") else _EXIT_FAILED
        return _refuse(error.public_text, status)
    except MailboxError as error:
        return _refuse(f"the data in {paths.data_dir} cannot be used: {error.public_text}", _EXIT_FAILED)
    _tell_what_is_missing(config)
    memory.set_limits()
    if single:
        return _run_single(daemon)
    return _run_processes(daemon)


def _refuse(sentence: str, status: int) -> int:
    sys.stderr.write(f"mailbox: {sentence}\n")
    return status


def _make_folders(config: Config, paths: Paths) -> None:
    privileges.make_folders([(paths.data_dir, 0o750), (paths.run_dir, 0o755)], config.server.user)


def _prepare(config: Config, paths: Paths, *, single: bool) -> Daemon:
    """All that needs root or must exist before the first fork."""
    opening.load(config.queue)
    fronts = 1 if single else config.server.fronts or min(4, len(os.sched_getaffinity(0)))
    listeners = _bind(config, fronts)
    try:
        hub_listener = None if single else unix_socket.listen(paths.hub_socket)
        imap_listener = unix_socket.listen(paths.imap_socket)
        submit_listener = _listen_for_programs(config, paths)
        sockets = [
            listener for listener in (paths.hub_socket, paths.imap_socket, paths.submit_socket) if listener.exists()
        ]
        privileges.drop(config.server.user, [paths.data_dir / ".lock", *sockets])
        privileges.no_new_privileges()
        for folder in (paths.data_dir, paths.run_dir):
            privileges.require_writable(folder)
        TlsContexts(config.tls, paths.data_dir, config.server.hostname)  # a certificate that cannot be used is told now
        check_redis(config)
        wiring.initialise(paths)
        _raise_file_limit()
    except BaseException:
        close_all(listeners)
        raise
    names = ["single"] if single else [*(f"front-{number}" for number in range(1, fronts + 1)), "core"]
    daemon = Daemon(
        config,
        paths,
        listeners,
        hub_listener,
        imap_listener,
        Board(names),
        datetime.now(UTC),
        os.getpid(),
        submit_listener,
    )
    if daemon.metrics_dir is not None:
        daemon.metrics_dir.mkdir(mode=0o700, exist_ok=True)
        clear_shared(daemon.metrics_dir)
    return daemon


def _listen_for_programs(config: Config, paths: Paths) -> socket | None:
    """Open to everybody on this machine: who connects is asked of the kernel, and most are sent away."""
    if not config.local_submission.enabled:
        paths.submit_socket.unlink(missing_ok=True)
        return None
    return unix_socket.listen(paths.submit_socket, mode=0o666)


def _bind(config: Config, fronts: int) -> Sequence[Listener]:
    bound: list[Listener] = []
    try:
        for services, count in ((FRONT_SERVICES, fronts), (CORE_SERVICES, 1)):
            for service in services:
                mode = int(config.lmtp.socket_mode, 8)
                bound.extend(bind_all(service, getattr(config.listen, service), count, unix_mode=mode))
    except BaseException:
        close_all(bound)
        raise
    return bound


def _run_single(daemon: Daemon) -> int:
    notifier = Notifier()
    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))

    def ready() -> None:
        _announce(daemon)
        notifier.ready("running")

    daemon.board.started(0, os.getpid(), daemon.started_at.timestamp(), 0)
    return process.run(daemon, 0, lambda loop: wiring.build_single(daemon, loop), ready, notifier)


class _Present:
    """The daemon as the next process is to see it: one that ends is started anew with what was reloaded since."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def reload(self) -> bool:
        """Whether the file as it is now may be passed on; the log says what it changes nothing about."""
        daemon = self.daemon
        logger = structlog.get_logger("supervisor")
        try:
            config = load(daemon.paths.config_file)
            TlsContexts(config.tls, daemon.paths.data_dir, config.server.hostname)
        except ConfigError as error:
            logger.error("reload refused, nothing changed", reason=error.public_text)  # noqa: TRY400 - the reason says it all
            return False
        kept = {name: getattr(daemon.config, name) for name in _NEEDS_RESTART}
        changed = [name for name, value in kept.items() if getattr(config, name) != value]
        if changed:
            logger.warning("some changes need a restart", sections=changed)
        log.configure(level=config.log.level, form=config.log.format, role="supervisor")
        self.daemon = replace(daemon, config=structs.replace(config, **kept))
        return True


def _run_processes(daemon: Daemon) -> int:
    notifier = Notifier()
    present = _Present(daemon)
    roles = [Role(name, _main(present, index, name == "core")) for index, name in enumerate(daemon.board.roles)]

    def ready() -> None:
        _announce(daemon)
        notifier.ready("running")

    organizations.preload()
    gc.collect()
    memory.give_back()
    gc.freeze()  # what is frozen is not touched by the collector, so its pages stay shared
    gc.set_threshold(*_COLLECTED)
    supervisor = Supervisor(
        roles,
        daemon.board,
        notifier,
        on_ready=ready,
        on_stop=lambda: close_all(daemon.listeners),
        reload=present.reload,
    )
    return supervisor.run()


def _main(present: _Present, index: int, is_core: bool) -> Callable[[], int]:
    build = wiring.build_core if is_core else partial(_build_front, index)

    def main() -> int:
        daemon = present.daemon
        return process.run(daemon, index, lambda loop: build(daemon, loop), lambda: _tell(daemon.supervisor_pid))

    return main


def _build_front(index: int, daemon: Daemon, loop: AbstractEventLoop) -> Sequence[process.Part]:
    return wiring.build_front(daemon, index, loop)


def _tell(supervisor_pid: int) -> None:
    os.kill(supervisor_pid, signal.SIGUSR1)


def _announce(daemon: Daemon) -> None:
    listeners = [{"service": each.service, "address": each.address, "port": each.port} for each in daemon.listeners]
    structlog.get_logger().info("ready", listeners=listeners, data_dir=str(daemon.paths.data_dir))


def _tell_what_is_missing(config: Config) -> None:
    logger = structlog.get_logger("supervisor")
    for service in config.listen.__struct_fields__:
        if getattr(config.listen, service) and service not in {*FRONT_SERVICES, *CORE_SERVICES}:
            logger.info("service is not part of this version, its ports stay closed", service=service)
    if config.tls.auto_tls and not config.tls.cert_file:
        logger.info("automatic certificates are not part of this version, a self-signed one is used")


def _raise_file_limit() -> None:
    """As many connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
