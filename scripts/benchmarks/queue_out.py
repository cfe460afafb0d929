"""Mail out: queued messages of 10 KB to 100 destinations behind a local sink, the product beside Postfix in the same run.

usage: queue_out.py [--count 10000] [--runs 1] [--destinations 100] [--no-peer] [--no-fsyncs] [--mailbox EXECUTABLE]

Each run: the messages are submitted (the product: log-in over TLS, signed with an RSA key of 2,048 bits and an Ed25519 one; Postfix: taken from
this machine, not signed) while nothing leaves, then let go. The clock runs from there to the sink's last message. The sink is Postfix's
smtp-sink at 127.0.1.N, one address for each destination; the product finds it by MX and A, Postfix by a transport map. CPU is that of all
processes of a server. fsyncs are counted by strace in a shorter run of their own. Prints JSON. Needs root and Debian's postfix.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import pwd
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import memory
from product import PASSWORD, Product
from queue_long import Control

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mailbox_app.clock import SystemClock  # noqa: E402
from mailbox_app.demo.dns_server import DnsServer, Zone  # noqa: E402
from mailbox_app.events.bus import LocalBus  # noqa: E402
from mailbox_app.mailqueue.model import HoldRule, QueueFilter  # noqa: E402
from mailbox_app.mailqueue.spool import Spool  # noqa: E402
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue  # noqa: E402

CONNECTIONS = 10
LONGEST_SECONDS = 600.0
MAIN = """compatibility_level = 3.6
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.bench.test
mydestination =
mynetworks = 127.0.0.0/8
local_transport = error:no local
alias_maps =
transport_maps = texthash:{dir}/etc/transport
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
smtp_tls_security_level = none
maillog_file = {dir}/log/postfix.log
maillog_file_prefixes = {dir}/log
"""
MASTER = """127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
RUNNING = "qmgr unix n - n 300 1 qmgr\npickup unix n - n 60 1 pickup\n"


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody has."""
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Until somebody listens there; OSError after 20 s."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Sink:
    """Postfix's smtp-sink on all loopback addresses; knows how many messages it has taken."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken, self.sessions = 0, 0

    def __enter__(self) -> Sink:
        command = ["/usr/sbin/smtp-sink", "-u", "nobody", "-c", f"inet:0.0.0.0:{self.port}", "1000"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        wait_for_port(self.port)
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while piece := os.read(self._process.stdout.fileno(), 65536):
            lines = (rest + piece).split(b"\r")
            rest = lines.pop()
            if lines and (found := re.search(rb"sess=(\d+) quit=\d+ mesg=(\d+)", lines[-1])):
                self.sessions, self.taken = int(found[1]), int(found[2])

    def wait(self, count: int) -> None:
        """Until so many are here."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while self.taken < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.taken} of {count} messages arrived")
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def letter(number: int, destinations: int) -> tuple[bytes, bytes]:
    """(recipient, content)."""
    recipient = b"r%d@d%d.example" % (number, number % destinations + 1)
    head = (
        b"From: u1@bench.test\r\nTo: %b\r\nDate: Mon, 02 Jun 2025 10:00:00 +0000\r\nMessage-ID: <%d.%d@bench.test>\r\nSubject: number %d\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        % (recipient, number, time.monotonic_ns(), number)
    )
    line = b"an ordinary line of an ordinary message, seventy octets with its end.\r\n"
    return recipient, head + line * ((10_240 - len(head)) // len(line))


class Client:
    """Submits what is its share, one message after the other over one connection."""

    def __init__(self, port: int, *, login: bool) -> None:
        plain = socket.create_connection(("127.0.0.1", port), 60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if login:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self._socket: socket.socket = context.wrap_socket(plain)
        else:
            self._socket = plain
        self._file = self._socket.makefile("rb")
        self._replies(1)
        self.say(b"EHLO client.bench.test\r\n")
        if login:
            token = base64.b64encode(b"\0u1@bench.test\0" + PASSWORD.encode())
            self.say(b"AUTH PLAIN " + token + b"\r\n")

    def say(self, data: bytes, replies: int = 1) -> None:
        """Send, read the answers; RuntimeError for a no."""
        self._socket.sendall(data)
        self._replies(replies)

    def _replies(self, count: int) -> None:
        while count:
            line = self._file.readline()
            if line[:1] not in b"23" or not line:
                raise RuntimeError(f"the server says {line!r}")
            count -= line[3:4] != b"-"

    def send(self, recipient: bytes, content: bytes) -> None:
        """One message."""
        self.say(b"MAIL FROM:<u1@bench.test>\r\nRCPT TO:<" + recipient + b">\r\nDATA\r\n", 3)
        self.say(content + b".\r\n")

    def close(self) -> None:
        """QUIT."""
        self.say(b"QUIT\r\n")
        self._socket.close()


def submit(port: int, count: int, destinations: int, *, login: bool) -> None:
    """All messages over a few connections at once."""
    errors: list[Exception] = []

    def work(first: int) -> None:
        try:
            client = Client(port, login=login)
            for number in range(first, count, CONNECTIONS):
                client.send(*letter(number, destinations))
            client.close()
        except Exception as error:  # noqa: BLE001 - raised in the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def names(destinations: int) -> Iterator[str]:
    """A DNS server that knows the destinations; its address."""
    zone: Zone = {}
    for number in range(1, destinations + 1):
        zone[f"d{number}.example", "MX"] = [f"10 mx.d{number}.example."]
        zone[f"mx.d{number}.example", "A"] = [f"127.0.1.{number}"]
    server = DnsServer(zone)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server.address
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


class OurSide:
    """The product with two keys; a hold rule keeps what is submitted."""

    name = "product"

    def __init__(self, dns: str, sink: Sink, executable: str | None) -> None:
        more = (
            f"[delivery]\nallow_private_addresses = true\nport = {sink.port}\n"
            "[abuse]\naccount_recipients_per_hour = 1000000\naccount_recipients_per_day = 1000000\n"
        )
        self.product = Product(1, executable, dns=dns, more=more)
        text = self.product.config.read_text()
        self.product.config.write_text(text.replace("submissions = []", 'submissions = ["127.0.0.1:0"]'))

    def __enter__(self) -> OurSide:
        self.product.__enter__()
        self.product.run("dkim", "generate", "bench.test", "--algorithm", "both")
        return self

    def __exit__(self, *_: object) -> None:
        self.product.__exit__()

    @property
    def pids(self) -> list[int]:
        return self.product.pids

    def _queue(self) -> SqliteQueue:
        folder = self.product.dir / "data"
        return SqliteQueue(folder / "queue.db", Spool(folder / "queue"), LocalBus())

    def fill(self, count: int, destinations: int) -> None:
        """Nothing leaves yet."""
        queue = self._queue()
        rule = queue.add_rule(HoldRule(0, sender="@bench.test", reason="benchmark"))
        submit(self.product.ports["submissions"], count, destinations, login=True)
        queue.remove_rule(rule.number)
        queue.close()

    def let_go(self) -> None:
        """All at once."""
        queue = self._queue()
        queue.unhold(QueueFilter(), SystemClock().now())
        queue.close()
        control = Control(self.product.dir / "run/control.sock")
        control.call("queue.pause", domain="none.example")
        control.call("queue.resume", domain="none.example")  # tells the runner to look

    def settled(self) -> bool:
        """Whether nothing waits any more."""
        queue = self._queue()
        stats = queue.stats(SystemClock().now())
        queue.close()
        return stats.recipients == 0


class PostfixSide:
    """Postfix without its queue manager while the queue is filled."""

    name = "postfix"

    def __init__(self, sink: Sink, destinations: int) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="queue-peer-"))
        self.dir.chmod(0o755)
        self.port = free_port()
        for each in ("spool", "data", "etc", "log"):
            (self.dir / each).mkdir()
        os.chown(self.dir / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (self.dir / "etc/main.cf").write_text(MAIN.format(dir=self.dir))
        (self.dir / "etc/master.cf").write_text(MASTER.format(port=self.port))
        hops = [f"d{number}.example smtp:[127.0.1.{number}]:{sink.port}\n" for number in range(1, destinations + 1)]
        (self.dir / "etc/transport").write_text("".join(hops))

    def _postfix(self, word: str) -> None:
        command = ["/usr/sbin/postfix", "-c", str(self.dir / "etc"), word]
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> PostfixSide:
        self._postfix("start")
        wait_for_port(self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._postfix("stop")
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        return [int((self.dir / "spool/pid/master.pid").read_text())]

    def fill(self, count: int, destinations: int) -> None:
        """Into its incoming queue."""
        submit(self.port, count, destinations, login=False)

    def let_go(self) -> None:
        """With its queue manager."""
        (self.dir / "etc/master.cf").write_text(MASTER.format(port=self.port) + RUNNING)
        self._postfix("reload")

    def settled(self) -> bool:
        """Whether nothing waits any more."""
        return not any(
            path.is_file()
            for each in ("incoming", "active", "deferred")
            for path in (self.dir / "spool" / each).rglob("*")
        )


Sides = OurSide | PostfixSide


def measure(side: Sides, sink: Sink, count: int, destinations: int) -> dict[str, float]:
    """One round."""
    span = memory.Span(side.pids)
    side.fill(count, destinations)
    filled = span.end()
    before, sessions = sink.taken, sink.sessions
    span = memory.Span(side.pids)
    side.let_go()
    sink.wait(before + count)
    taken = time.monotonic() - span.wall
    deadline = time.monotonic() + 30
    while not side.settled() and time.monotonic() < deadline:
        time.sleep(0.05)
    sent = span.end()
    time.sleep(4)  # connections that are kept are counted when they end
    return {
        "submitted_per_s": round(count / filled["s"], 1), "submit_ms_cpu": round(filled["server_cpu_s"] * 1000 / count, 3),
        "sent_per_s": round(count / taken, 1), "send_ms_cpu": round(sent["server_cpu_s"] * 1000 / count, 3),
        "ms_cpu": round((filled["server_cpu_s"] + sent["server_cpu_s"]) * 1000 / count, 3),
        "sessions": sink.sessions - sessions, "settled_s": round(sent["s"], 2),
    }  # fmt: skip


def fsyncs(side: Sides, sink: Sink, count: int, destinations: int) -> dict[str, float]:
    """fsync and fdatasync for each message, while it is submitted and while it is sent."""
    found = {}
    for name, work in (("submit", lambda: side.fill(count, destinations)), ("send", lambda: _send(side, sink, count))):
        found[f"{name}_fsyncs"] = round(_count_fsyncs(side.pids, work) / count, 3)
    return found


def _send(side: Sides, sink: Sink, count: int) -> None:
    before = sink.taken
    side.let_go()
    sink.wait(before + count)


def _count_fsyncs(pids: list[int], work: Callable[[], None]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "strace"
        wanted = [word for pid in memory.tree(pids) for word in ("-p", str(pid))]
        command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(out), *wanted]
        tracing = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        work()
        tracing.send_signal(2)
        tracing.wait(30)
        return sum(
            int(line.split()[3]) for line in out.read_text().splitlines() if line.endswith(("fsync", "fdatasync"))
        )


def main() -> None:
    """Both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--destinations", type=int, default=100)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-fsyncs", action="store_true")
    parser.add_argument("--mailbox", help="measure this frozen file instead of the source tree")
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {}
    with names(options.destinations) as dns:
        for _ in range(options.runs):
            for is_ours in (True, False)[: 1 if options.no_peer else 2]:
                with Sink() as sink, ExitStack() as stack:
                    made = OurSide(dns, sink, options.mailbox) if is_ours else PostfixSide(sink, options.destinations)
                    side = stack.enter_context(made)
                    found = measure(side, sink, options.count, options.destinations)
                    if not options.no_fsyncs and shutil.which("strace") and side.name == "product":
                        found |= fsyncs(side, sink, min(options.count, 1_000), options.destinations)
                    print(side.name, json.dumps(found), file=sys.stderr, flush=True)
                    rounds.setdefault(side.name, []).append(found)
    report = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in rounds.items()
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
