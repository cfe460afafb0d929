"""The real daemon as a subprocess in a throw-away folder on free loopback ports."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mailbox_app.net import unix_socket

START = "import sys; from mailbox_app.runtime.serve import serve; sys.exit(serve(sys.argv[1], single='--single' in sys.argv))"
SECONDS = 20.0
_START_SECONDS = 60.0
"""A start is a second of pure computing, which a crowd stretches more than anything else."""
BACK_SECONDS = 6.0
"""For a killed process to be back: 2 s are promised, a machine busy with other tests gets more."""
PASSWORD = "correct horse battery"
CONFIG = """[server]
hostname = "mail.example.org"
data_dir = "data"
run_dir = "run"
fronts = {fronts}

[listen]
smtp = ["127.0.0.1:0"]
submission = ["127.0.0.1:0"]
submissions = ["127.0.0.1:0"]
imap = ["127.0.0.1:0"]
imaps = ["127.0.0.1:0"]
managesieve = []
https = []
http = []
metrics = ["127.0.0.1:0"]

[tls]
auto_tls = false

[dns]
servers = ["127.0.0.1:9"]
timeout_seconds = 1

[greylist]
enabled = false
"""


def eventually(what: str, condition: Callable[[], Any], seconds: float = SECONDS, every: float = 0.005) -> Any:
    """Wait until the condition is true; its value. `every` is longer where asking too often is answered differently."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)
    return value


class Daemon:
    """Started and ready after `start`; killed at the latest by `destroy`."""

    def __init__(self, folder: Path, *, fronts: int = 2, single: bool = False, ports: bool = False) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        if not self.config.exists():
            self.config.write_text(CONFIG.format(fronts=fronts))
        self.log_path = folder / "daemon.log"
        self._single = single
        self._keep_ports = ports
        self._process: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}
        self.ready_seconds = 0.0

    # life

    def start(self) -> Daemon:
        """Start and wait for the ready line."""
        before = len(self.events("ready"))
        began = time.monotonic()
        self._process = self.spawn()
        eventually(
            "ready line",
            lambda: self._process.poll() is not None or len(self.events("ready")) > before,  # type: ignore[union-attr]
            _START_SECONDS,
        )
        if self._process.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.log_path.read_text()}")
        self.ready_seconds = time.monotonic() - began
        self.ports = {each["service"]: each["port"] for each in self.events("ready")[-1]["listeners"]}
        if self._keep_ports:
            self._pin_ports()
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start without waiting."""
        words = [sys.executable, "-c", START, str(self.config), *(["--single"] if self._single else [])]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait for the end; the exit status."""
        assert self._process is not None
        status = self._process.wait(seconds)
        self._process = None
        return status

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def destroy(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    # looking inside

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of this event so far."""
        if not self.log_path.exists():
            return []
        found = []
        for line in self.log_path.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                if event["event"] == name:
                    found.append(event)
        return found

    def call(self, method: str, *, timeout_seconds: float = SECONDS, **params: object) -> dict[str, Any]:
        """One request over the control socket, in plain JSON lines."""
        connection = unix_socket.connect(self.folder / "run" / "control.sock", timeout_seconds=timeout_seconds)
        with connection, connection.makefile("rb") as lines:
            connection.sendall(
                json.dumps({"id": 1, "method": method, "params": params, "via": "test"}).encode() + b"\n"
            )
            for line in lines:
                frame = json.loads(line)
                if "error" in frame:
                    raise AssertionError(f"{method}: {frame['error']} {self.events('control_failed')[-1:]}")
                if "result" in frame:
                    result: dict[str, Any] = frame["result"]
                    return result
        raise ConnectionError("the daemon hung up")

    def process(self, role: str) -> dict[str, Any]:
        """One row of the processes; waits while the core is down."""

        def row() -> dict[str, Any] | None:
            with contextlib.suppress(OSError):
                rows = self.call("status")["processes"]
                return next((each for each in rows if each["role"] == role and each["pid"]), None)
            return None

        found: dict[str, Any] = eventually(f"{role} runs", row)
        return found

    def add_account(self, address: str) -> None:
        domain = address.rpartition("@")[2]
        if domain not in [each["name"] for each in self.call("domain.list")["domains"]]:
            self.call("domain.add", name=domain)
        self.call("user.add", address=address, password=PASSWORD)

    # clients

    @contextlib.contextmanager
    def smtp(self) -> Iterator[smtplib.SMTP]:
        client = smtplib.SMTP("127.0.0.1", self.ports["smtp"], "client.example.net", timeout=SECONDS)
        try:
            yield client
        finally:
            client.close()

    @contextlib.contextmanager
    def imap(self, address: str) -> Iterator[imaplib.IMAP4_SSL]:
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=untrusting(), timeout=SECONDS)
        try:
            client.login(address, PASSWORD)
            yield client
        finally:
            client.shutdown()

    def messages(self, address: str, mailbox: str = "INBOX") -> list[bytes]:
        """The whole messages in the mailbox."""
        with self.imap(address) as client:
            client.select(mailbox, readonly=True)
            _, rows = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        return [row[1] for row in rows if isinstance(row, tuple)]

    def message_ids(self, address: str, mailbox: str = "INBOX") -> list[str]:
        """Message-IDs in the mailbox, each read from the whole stored message."""
        found = []
        for message in self.messages(address, mailbox):
            head = message.partition(b"\r\n\r\n")[0].decode()
            found.append(next(line[12:].strip() for line in head.split("\r\n") if line.startswith("Message-ID: ")))
        return found

    def _pin_ports(self) -> None:
        """A later start has the ports of this one."""
        text = self.config.read_text()
        for service, port in self.ports.items():
            text = text.replace(f'\n{service} = ["127.0.0.1:0"]', f'\n{service} = ["127.0.0.1:{port}"]')
        self.config.write_text(text)


def untrusting() -> ssl.SSLContext:
    """Takes the self-signed certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def mail(message_id: str, size_bytes: int = 500) -> bytes:
    """A small message."""
    lines = b"A line of text that is not very long.\r\n" * max(1, size_bytes // 39)
    return (
        f"From: bob@example.net\r\nTo: alice@example.org\r\nSubject: hello\r\nMessage-ID: {message_id}\r\n\r\n".encode()
        + lines
    )
