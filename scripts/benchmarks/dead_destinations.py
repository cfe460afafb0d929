"""Many destinations of which some are dead: how fast the healthy ones get their mail, with and without the dead.

usage: dead_destinations.py [--destinations 10000] [--messages 1] [--dead 0.05] [--rounds 1] [--workers 40] [--folder F]

A virtual network on loopback: every destination has an MX and an address, told at once from a table. Healthy ones end at a sink in
a process of its own (127.1.0.1); of the dead ones half refuse (nobody listens at 127.2.x.y), half say nothing at all (127.3.x.y:
a listening socket whose backlog is full, so that connecting times out). The product's queue, runner and transport run here as in
the core. All mail is queued first, in a random order; the clock runs from the start of the runner to the last message of a
healthy destination. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import random
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import structlog  # noqa: E402

from mailbox_app.clock import SystemClock  # noqa: E402
from mailbox_app.config.schema import Delivery  # noqa: E402
from mailbox_app.db import state_schema  # noqa: E402
from mailbox_app.db.offload import Offload  # noqa: E402
from mailbox_app.events.bus import LocalBus  # noqa: E402
from mailbox_app.mailqueue.bounces import Bounces  # noqa: E402
from mailbox_app.mailqueue.destinations.breaker_store import SqliteBreakerStore  # noqa: E402
from mailbox_app.mailqueue.destinations.breakers import Breakers  # noqa: E402
from mailbox_app.mailqueue.destinations.pace import Pace  # noqa: E402
from mailbox_app.mailqueue.destinations.warm_up import WarmUpPlan  # noqa: E402
from mailbox_app.mailqueue.model import Envelope, NewRecipient  # noqa: E402
from mailbox_app.mailqueue.runner import QueueRunner  # noqa: E402
from mailbox_app.mailqueue.spool import Spool  # noqa: E402
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue  # noqa: E402
from mailbox_app.net.resolver import Answer  # noqa: E402
from mailbox_app.observe.mail_log import MailLog  # noqa: E402
from mailbox_app.observe.metrics import Metrics  # noqa: E402
from mailbox_app.outbound.passages import Passages  # noqa: E402
from mailbox_app.outbound.tls.memory import TlsMemory  # noqa: E402
from mailbox_app.outbound.tls.out import OutboundTls  # noqa: E402
from mailbox_app.outbound.transport import SmtpTransport  # noqa: E402
from mailbox_app.policy.state.rates import SqliteRates  # noqa: E402

HOSTNAME = "mx.bench.test"
CONTENT = (
    b"From: a@bench.test\r\nSubject: dead ones\r\nMessage-ID: <1@bench.test>\r\n\r\n" + b"0123456789abcde\r\n" * 600
)
LONGEST_SECONDS = 900.0


class QuietMailLog(MailLog):
    """Writes nothing."""

    def write(self, event: object) -> None:
        """Nothing."""


class TableResolver:
    """DNS that costs nothing."""

    def __init__(self, zone: Mapping[tuple[str, str], list[str]]) -> None:
        self._zone = zone
        self._names = {name for name, _ in zone}

    async def query(self, name: str, rdtype: str) -> Answer:
        """From the table."""
        name = name.lower().rstrip(".")
        return Answer(tuple(self._zone.get((name, rdtype), ())), False, name in self._names)


class Sink(asyncio.Protocol):
    """Takes everything."""

    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(b"220 sink\r\n")
        self._buffer = b""
        self._in_data = False

    def data_received(self, data: bytes) -> None:
        """Answer every command and message that is whole."""
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            unit, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            self._transport.write(self._answer(unit))

    def _answer(self, line: bytes) -> bytes:
        if self._in_data:
            self._in_data = False
            Sink.received += 1
            return b"250 2.0.0 taken\r\n"
        verb = line[:4].upper()
        if verb == b"EHLO":
            return b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if verb == b"DATA":
            self._in_data = True
            return b"354 go on\r\n"
        return b"250 2.0.0 ok\r\n"


def serve_sink(pipe: multiprocessing.connection.Connection) -> None:
    """In its own process: tells its port, then how many messages it has whenever asked."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Sink, "127.1.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await asyncio.sleep(0.05)
            if pipe.poll():
                if pipe.recv() == "end":
                    return
                pipe.send(Sink.received)

    uvloop.install()
    asyncio.run(main())


@contextmanager
def silent_hosts(port: int, count: int) -> Iterator[list[str]]:
    """Addresses where connecting times out: sockets that listen and whose backlog is full."""
    made: list[socket.socket] = []
    addresses = []
    try:
        for number in range(count):
            address = f"127.3.{number // 250}.{number % 250 + 1}"
            listener = socket.socket()
            made.append(listener)
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(2):
                filler = socket.socket()
                made.append(filler)
                filler.setblocking(False)
                filler.connect_ex((address, port))
            addresses.append(address)
        yield addresses
    finally:
        for each in made:
            each.close()


def zone_of(count: int, dead: int, silent: list[str]) -> dict[tuple[str, str], list[str]]:
    """The first `dead` destinations are dead, every second one of them silent."""
    zone: dict[tuple[str, str], list[str]] = {}
    for number in range(count):
        name = f"d{number}.test"
        zone[name, "MX"] = [f"10 mx.{name}."]
        if number >= dead:
            address = "127.1.0.1"
        elif number % 2 and silent:
            address = silent[number // 2 % len(silent)]
        else:
            address = f"127.2.{number // 250}.{number % 250 + 1}"
        zone[f"mx.{name}", "A"] = [address]
    return zone


async def run(
    options: argparse.Namespace, dead: int, folder: Path, port: int, ask: multiprocessing.connection.Connection
) -> dict[str, object]:
    """One measurement."""
    with silent_hosts(port, min(dead // 2, 250)) as silent:
        zone = zone_of(options.destinations, dead, silent)
        clock, offload, bus, metrics = SystemClock(), Offload(), LocalBus(), Metrics()
        bus.bind(asyncio.get_running_loop())
        spool = Spool(folder / "queue")
        queue = SqliteQueue(folder / "queue.db", spool, bus, clock)
        order = [number for number in range(options.destinations) for _ in range(options.messages)]
        random.Random(5).shuffle(order)
        for number in order:
            recipient = NewRecipient(f"someone@d{number}.test")
            queue.enqueue(Envelope("a@bench.test"), [recipient], spool.write(b"", CONTENT), clock.now())
        with closing(state_schema.open_state(folder / "state.db")) as database:
            breakers = Breakers(SqliteBreakerStore(database, clock), offload, clock, metrics)
            config = Delivery(port=port, allow_private_addresses=True)
            pace = Pace(lambda: config, SqliteRates(database, clock), clock, WarmUpPlan())
            resolver = TableResolver(zone)
            tls = OutboundTls(
                resolver, TlsMemory(folder / "tls.db", clock), config=config, offload=offload, clock=clock, witnesses=()
            )
            transport = SmtpTransport(
                resolver,
                hostname=HOSTNAME,
                config=config,
                offload=offload,
                clock=clock,
                tls=tls,
                passages=Passages(breakers, queue, offload, clock, pace=pace),
            )
            runner = QueueRunner(
                queue,
                {"smtp": transport},
                Bounces(queue, spool, lambda _: False, HOSTNAME, clock),
                offload=offload,
                clock=clock,
                bus=bus,
                mail_log=QuietMailLog(),
                metrics=metrics,
                workers=options.workers,
                claim_counts=pace.claim_counts,
            )
            ask.send("count")
            base = await asyncio.to_thread(ask.recv)
            wanted = (options.destinations - dead) * options.messages
            cpu, started = cpu_seconds(), time.monotonic()
            running = asyncio.create_task(runner.run())
            taken = 0
            reached: dict[str, float] = {}
            while taken < wanted and time.monotonic() < started + LONGEST_SECONDS:
                await asyncio.sleep(0.05)
                ask.send("count")
                taken = (await asyncio.to_thread(ask.recv)) - base
                for share in (0.5, 0.9, 0.99):
                    if taken >= share * wanted:
                        reached.setdefault(f"{share:.0%}", round(time.monotonic() - started, 2))
            seconds = time.monotonic() - started
            cpu = cpu_seconds() - cpu
            opened = breakers.count_not_closed()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            transport.close()
        offload.close()
        queue.close()
        return {
            "destinations": options.destinations,
            "dead": dead,
            "healthy_messages": taken,
            "seconds": round(seconds, 2),
            "seconds_to": reached,
            "healthy_per_second": round(taken / seconds, 1),
            "cpu_ms_per_message": round(cpu / max(taken, 1) * 1000, 2),
            "hosts_passed_over_at_the_end": opened,
        }


def cpu_seconds() -> float:
    """Of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Alternate runs without and with dead destinations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destinations", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1)
    parser.add_argument("--dead", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", default=None, help="where the queue lies; /dev/shm leaves the disk out")
    parser.add_argument("--workers", type=int, default=40)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    ours, theirs = multiprocessing.Pipe()
    sink = multiprocessing.get_context("spawn").Process(target=serve_sink, args=(theirs,), daemon=True)
    sink.start()
    port = ours.recv()
    uvloop.install()
    runs = []
    for _ in range(options.rounds):
        for dead in (0, int(options.destinations * options.dead)):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                runs.append(asyncio.run(run(options, dead, Path(folder), port, ours)))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    ours.send("end")
    well = max(float(str(each["healthy_per_second"])) for each in runs if not each["dead"])
    ill = max((float(str(each["healthy_per_second"])) for each in runs if each["dead"]), default=well)
    print(json.dumps({"runs": runs, "rate_with_dead_to_rate_without": round(ill / well, 3)}, indent=2))


if __name__ == "__main__":
    main()
