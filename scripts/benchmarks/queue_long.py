"""A queue of 100,000 waiting messages: what a start, a page, a filter and a retry of one take, and what memory it costs.

usage: queue_long.py [--count 100000] [--runs 7] [--mailbox EXECUTABLE] [--redis unix:///path]

The queue is filled while nothing runs; every message waits for tomorrow. Answers are timed at the control socket, the start from
the process to readiness, each beside the same with an empty queue; memory is that of all processes (PSS). With --redis the queue
is moved there by the daemon itself. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import memory
from product import Product

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mailbox_app.events.bus import LocalBus  # noqa: E402
from mailbox_app.mailqueue.spool import Spool  # noqa: E402
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue  # noqa: E402

DESTINATIONS = 1_000
GOAL_MS = 200.0


class Control:
    """The control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def call(self, method: str, **params: object) -> dict[str, object]:
        """One request; RuntimeError when it is refused."""
        self._socket.sendall(json.dumps({"id": 1, "method": method, "params": params, "via": "bench"}).encode() + b"\n")
        for line in self._lines:
            frame = json.loads(line)
            if "error" in frame:
                raise RuntimeError(f"{method}: {frame['error']}")
            if "result" in frame:
                result: dict[str, object] = frame["result"]
                return result
        raise RuntimeError("the server hung up")


def rows(count: int, now: datetime) -> Iterator[tuple[tuple[object, ...], tuple[object, ...]]]:
    """Message and recipient of each."""
    arrived, due = now.timestamp(), (now + timedelta(days=1)).timestamp()
    for number in range(count):
        queue_id, address = f"1{number:012d}", f"r{number}@d{number % DESTINATIONS}.example"
        message = (
            queue_id,
            f"s{number % 50}@bench.test",
            arrived - number,
            arrived + 604_800,
            f"file-{number}",
            f"<{number}@bench.test>",
        )
        yield message, (queue_id, address, address.partition("@")[2], due + number / 100)


def fill(folder: Path, count: int) -> None:
    """By SQL, in one go: through the front door it would take a quarter of an hour."""
    spool = Spool(folder / "queue")
    queue = SqliteQueue(folder / "queue.db", spool, LocalBus())
    content = b"From: s@bench.test\r\nSubject: waits\r\n\r\n" + b"a line of a short message\r\n" * 10
    with queue._database.transaction() as connection:  # noqa: SLF001 - a benchmark may
        for message, recipient in rows(count, datetime.now(UTC)):
            queue_id, sender, arrived, expires, name, message_id = message
            (spool.directory / str(name)).write_bytes(content)
            connection.execute(
                "INSERT INTO message (queue_id, sender, body, smtputf8, ret, envid, submitter, message_id, size_bytes, arrived_at,"
                " expires_at, spool_name) VALUES (?, ?, '7BIT', 0, '', '', ?, ?, ?, ?, ?, ?)",
                (queue_id, sender, sender, message_id, len(content), arrived, expires, name),
            )
            connection.execute(
                "INSERT INTO recipient (queue_id, address, transport, destination, state, waits_as, attempts, next_at, last_code,"
                " last_text, last_host, notify, orcpt, lease_token, lease_until) VALUES (?, ?, 'smtp', ?, 'deferred', 'deferred', 1,"
                " ?, 451, 'try again later', 'mx.example', '', '', '', 0)",
                recipient,
            )
    queue.close()


def timed(runs: int, work: Callable[[], object]) -> float:
    """The median in ms."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(taken), 1)


def started(product: Product) -> float:
    """Seconds from the process to readiness."""
    began = time.monotonic()
    product.start()
    return round(time.monotonic() - began, 2)


def retry_one(control: Control, number: int) -> None:
    """As `mailbox queue retry` does it: the plan, then what was planned."""
    action = {"action": "retry", "recipients": [[f"1{number:012d}", f"r{number}@d{number % DESTINATIONS}.example"]]}
    plan = control.call("queue.plan", **action)
    control.call("queue.apply", plan=plan["plan"], **action)


def figures(product: Product, runs: int, count: int) -> dict[str, float]:
    """With the queue that is there."""
    control = Control(product.dir / "run/control.sock")
    time.sleep(2)
    found = {
        "page_ms": timed(runs, lambda: control.call("queue.list", limit=100)),
        "page_by_sender_ms": timed(runs, lambda: control.call("queue.list", limit=100, sort="from", offset=count // 2)),
        "filter_domain_ms": timed(
            runs, lambda: control.call("queue.list", limit=100, filter={"domain": "d77.example"})
        ),
        "filter_text_ms": timed(runs, lambda: control.call("queue.list", limit=100, filter={"text": "r4711@"})),
        "stats_ms": timed(runs, lambda: control.call("queue.stats")),
    }
    if count:
        numbers = iter(range(runs))
        found["retry_one_ms"] = timed(runs, lambda: retry_one(control, next(numbers)))
    found["pss_mib"] = memory.memory(product.pids)["pss_mib"]
    return found


def main() -> None:
    """An empty queue, then the long one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--mailbox", help="measure this frozen file instead of the source tree")
    parser.add_argument("--redis", default="", help="the address of an empty Redis server")
    options = parser.parse_args()
    more = f'[queue]\nbackend = "redis"\nredis_url = "{options.redis}"\n' if options.redis else ""
    with Product(1, options.mailbox, more=more) as product:
        product.stop()
        empty = {"start_s": started(product), **figures(product, options.runs, 0)}
        product.stop()
        fill(product.dir / "data", options.count)
        long = {"start_s": started(product), **figures(product, options.runs, options.count)}
    slow = [name for name, value in long.items() if name.endswith("_ms") and value > GOAL_MS]
    if long["start_s"] - empty["start_s"] > GOAL_MS / 1000:
        slow.append("start_s")
    print(json.dumps({"empty": empty, "long": long, "over_the_goal": slow}))
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
