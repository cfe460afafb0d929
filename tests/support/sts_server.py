"""The web server of MTA-STS policies, at a loopback address: HTTPS with a certificate of a test authority."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.certificates import Certified


class StsServer(ThreadingHTTPServer):
    """Answers with the policy of the host that is asked for; `asked` are the hosts so far."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Door)
        self.policies: dict[str, str] = {}
        self.asked: list[str] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is its own affair."""


class _Door(BaseHTTPRequestHandler):
    server: StsServer
    timeout = 10

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        self.server.asked.append(host)
        policy = self.server.policies.get(host.removeprefix("mta-sts."))
        found = policy is not None and self.path == "/.well-known/mta-sts.txt"
        body = (policy or "").encode() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def sts_server(folder: Path, address: str, certified: Certified) -> Iterator[StsServer]:
    """Running in a thread."""
    server = StsServer(address)
    server.socket = certified.server_context(folder).wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def policy(mode: str, *hosts: str) -> str:
    """Its text."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), "max_age: 604800"]
    return "\r\n".join(lines) + "\r\n"
