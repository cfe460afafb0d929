"""This program, started as a daemon in a throw-away folder on free loopback ports, and spoken to from outside.

Everything goes through the product's own doors: the command line, SMTP, IMAP. Raises `DemoError` with the evidence when something
does not answer as it should.
"""

from __future__ import annotations

import imaplib
import json
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROXY_ADDRESS = "127.0.0.9"
START_SECONDS = 20.0
STOP_SECONDS = 15.0


class DemoError(Exception):
    """A step that did not go as promised."""


class Appliance:
    """One daemon and its clients."""

    def __init__(
        self,
        folder: Path,
        dns_address: str,
        remote_port: int,
        hostname: str = "mail.example.org",
        *,
        proxied: bool = False,
    ) -> None:
        """`proxied`: a client may come as a `StrangerClient`."""
        self.folder = folder
        self.config = folder / "config.toml"
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.config.write_text(
            f"""[server]
hostname = "{hostname}"
data_dir = "data"
run_dir = "run"
fronts = 2

[listen]
smtp = ["127.0.0.1:0"]
submission = ["127.0.0.1:0"]
submissions = ["127.0.0.1:0"]
imaps = ["127.0.0.1:0"]
managesieve = []
https = []
http = []
metrics = ["127.0.0.1:0"]

[tls]
auto_tls = false

[dns]
servers = ["{dns_address}"]

[delivery]
allow_private_addresses = true  # the pretend internet lives on loopback
port = {remote_port}

[proxy]
trusted_networks = [{f'"{PROXY_ADDRESS}/32"' if proxied else ""}]
"""
        )

    def start(self) -> None:
        """Start the daemon and wait until it is ready."""
        with open(self.folder / "daemon.log", "ab") as log:
            self._process = subprocess.Popen(self._command("serve"), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = subprocess.run(self._command("status", "--json"), capture_output=True, text=True, check=False)
            if done.returncode == 0 and (status := json.loads(done.stdout))["ready"]:
                self.ports = {listener["service"]: listener["port"] for listener in status["listeners"]}
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the daemon did not get ready:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> float:
        """SIGTERM; the seconds it took to drain and end."""
        if self._process is None:
            return 0.0
        started = time.monotonic()
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            raise DemoError(f"the daemon did not stop within {STOP_SECONDS:.0f} s") from error
        self._process = None
        if code:
            raise DemoError(f"the daemon ended with {code}:\n{self.log_tail()}")
        return time.monotonic() - started

    def abandon(self) -> None:
        """End what still runs, without a word: the story has failed already, or is over."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def command(self, *words: str, stdin: str | None = None) -> str:
        """Run one command of the product; what it printed."""
        done = subprocess.run(
            self._command(*words), input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise DemoError(f"`mailbox {' '.join(words)}` exits {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def query(self, *words: str) -> Any:
        """Run one reading command with --json; its value."""
        return json.loads(self.command(*words, "--json"))

    def mailbox(self, address: str, password: str) -> imaplib.IMAP4_SSL:
        """An IMAP connection, logged in, INBOX selected."""
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=untrusting(), timeout=20)
        client.login(address, password)
        client.select("INBOX")
        return client

    def submit(self, address: str, password: str, recipients: list[str], message: str) -> str:
        """Submit over TLS on 465; the final reply."""
        port = self.ports["submissions"]
        with smtplib.SMTP_SSL("127.0.0.1", port, "laptop.example.org", context=untrusting(), timeout=20) as client:
            client.login(address, password)
            return send(client, address, recipients, message.encode())

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the daemon's log."""
        return "\n".join((self.folder / "daemon.log").read_text(errors="replace").splitlines()[-lines:])

    def log_lines(self, word: str) -> list[str]:
        """The lines of the daemon's log that hold a word."""
        return [line for line in (self.folder / "daemon.log").read_text(errors="replace").splitlines() if word in line]

    def _command(self, *words: str) -> list[str]:
        frozen = getattr(sys, "frozen", False)
        program = [sys.executable] if frozen else [sys.executable, "-m", "mailbox_app"]
        return [*program, "--config", str(self.config), *words]


class StrangerClient(smtplib.SMTP):
    """Speaks from an address of the outside world, which the PROXY header tells."""

    def __init__(self, stranger_ip: str, hostname: str) -> None:
        self._stranger_ip = stranger_ip
        super().__init__(timeout=20, local_hostname=hostname, source_address=(PROXY_ADDRESS, 0))

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made = socket.create_connection((host, port), timeout, self.source_address)
        made.sendall(f"PROXY TCP4 {self._stranger_ip} 127.0.0.1 40000 {port}\r\n".encode())
        return made


def send(client: smtplib.SMTP, sender: str, recipients: list[str], message: bytes) -> str:
    """One transaction; the reply to the data. The first refused recipient is an error."""
    client.ehlo_or_helo_if_needed()
    code, reply = client.mail(sender)
    for recipient in recipients:
        if code == 250:
            code, reply = client.rcpt(recipient)
    if code == 250:
        code, reply = client.data(message)
    text = f"{code} {reply.decode(errors='replace')}"
    if code != 250:
        raise DemoError(f"the server refused: {text}")
    return text


def untrusting() -> ssl.SSLContext:
    """TLS without a trusted certificate: the demo's is self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
