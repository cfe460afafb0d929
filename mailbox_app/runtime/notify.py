"""Tells the service manager how the daemon is: READY, RELOADING, STOPPING, WATCHDOG. Without one, nothing happens."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Speaks sd_notify(3) to $NOTIFY_SOCKET; errors are ignored, the mail matters more."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        watched = os.environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self.watchdog_seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0.0

    def ready(self, status: str) -> None:
        """Everything is served, or a reload is done."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """A reload begins."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon drains and ends."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """The supervisor turns; told only where a watchdog waits for it."""
        if self.watchdog_seconds:
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(address)
                sender.sendall(text.encode())
        except OSError:
            return
