"""What all processes of one daemon have in common; made once, before the forks."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mailbox_app.config.paths import Paths
from mailbox_app.config.schema import Config
from mailbox_app.net.listeners import Listener
from mailbox_app.runtime.board import Board

FRONT_SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "managesieve", "lmtp")
CORE_SERVICES = ("metrics",)
IMPLICIT_TLS = frozenset({"submissions", "imaps", "pop3s"})


@dataclass(frozen=True, slots=True)
class Daemon:
    """The whole daemon as each of its processes sees it."""

    config: Config
    """As read when the process was forked; one that reloads keeps its own newer one."""
    paths: Paths
    listeners: Sequence[Listener]
    hub_listener: socket.socket | None
    """None with --single: there is nobody to join."""
    imap_listener: socket.socket
    """The Unix socket of `mailbox imap`, which all fronts share."""
    board: Board
    started_at: datetime
    supervisor_pid: int
    submit_listener: socket.socket | None = None
    """The Unix socket of `mailbox sendmail`, which all fronts share; None: switched off."""
    login_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Tells wrong guesses of passwords apart, in all processes alike; never on disk."""

    @property
    def metrics_dir(self) -> Path | None:
        """Where the processes share their metrics; None: there is one process."""
        return self.paths.run_dir / "metrics" if self.hub_listener is not None else None

    def sockets(self, services: Sequence[str], index: int) -> Sequence[tuple[str, socket.socket]]:
        """(service, socket) of one process: front `index`, or the core with 0."""
        return [(each.service, each.sockets[index]) for each in self.listeners if each.service in services]

    def close_sockets_except(self, kept: Sequence[socket.socket]) -> None:
        """In a fresh process: let go of what other processes serve."""
        everything = [each for listener in self.listeners for each in listener.sockets]
        if self.hub_listener is not None:
            everything.append(self.hub_listener)
        everything.append(self.imap_listener)
        if self.submit_listener is not None:
            everything.append(self.submit_listener)
        for each in everything:
            if each not in kept:
                each.close()
