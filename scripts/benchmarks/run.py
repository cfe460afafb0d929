"""One round of every benchmark, product and peer side by side in the same run, and one table at the end."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import memory
from peer import Peer
from product import PASSWORD, Product

HERE = Path(__file__).parent
GOALS = {
    "in mailbox/s, 10 KB, concurrency 1": ">= 1.5",
    "in mailbox/s, 10 KB, concurrency 10": ">= 3.0",
    "in mailbox/s, 10 KB, concurrency 50": ">= 4.0",
    "in mailbox/s, 10 MB, concurrency 4": ">= 1.5",
    "LOGIN s": "<= 1.0",
    "SELECT s": "<= 3.0, 5 ms",
    "FETCH FLAGS s": "<= 1.0",
    "FETCH ENVELOPE BODYSTRUCTURE s": "<= 0.6",
    "FETCH four headers s": "<= 1.5",
    "FETCH all bodies s": "<= 1.3",
    "SEARCH SUBJECT s": "<= 1.0",
    "SEARCH TEXT s": "<= 0.05",
    "SEARCH UNSEEN s": "<= 2.0",
    "STORE +FLAGS s": "<= 1.0",
    "COPY s": "<= 1.0",
    "EXPUNGE s": "<= 1.5",
    "APPEND 10 KB/s": ">= 1.5",
    "POP3 RETR of all s": "<= 1.5",
    "out messages/s, 10,000 of 10 KB to 100 destinations": ">= 1.0",
}
ABSOLUTE = {
    "CPU ms a message, concurrency 1": "<= 2.0 ms",
    "CPU ms a message, concurrency 10": "<= 2.0 ms",
    "CPU ms a message, concurrency 50": "<= 2.0 ms",
    "the whole pipeline / plain acceptance, concurrency 1": "<= 2.5",
    "the whole pipeline / plain acceptance, concurrency 10": "<= 2.5",
    "250 to EXISTS p99 ms": "<= 5 ms",
    "memory just started MiB PSS": "<= 80 MiB",
    "KiB an idle TLS connection": "<= 40 KiB",
    "start to first greeting s": "<= 0.8 s",
    "CPU ms a message out, whole": "<= 3.0 ms",
    "100,000 waiting: page ms": "<= 200 ms",
    "100,000 waiting: filter domain ms": "<= 200 ms",
    "100,000 waiting: filter text ms": "<= 200 ms",
    "100,000 waiting: retry one ms": "<= 200 ms",
    "100,000 waiting: start, compared with an empty queue s": "<= 0.2 s",
}


PROGRAM_SECONDS = 900
"""No program takes so long on a machine that works."""


class MeasureError(Exception):
    """A program ended without a result."""


class Side:
    """One of the two servers under test, as the programs want it."""

    def __init__(self, name: str, server: Product | Peer, password: str) -> None:
        self.name, self.server, self.password = name, server, password
        self.rows: dict[str, float] = {}

    def program(self, script: str, *words: object) -> dict[str, Any]:
        """Run one program; its JSON."""
        command = [sys.executable, str(HERE / script), *map(str, words)]
        environment = {**os.environ, "BENCH_TLS": "1"}
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, env=environment, check=True, timeout=PROGRAM_SECONDS
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise MeasureError(f"{script} against {self.name}: {error}") from error
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    @property
    def pids(self) -> str:
        """Root processes, for CPU and memory."""
        return ",".join(map(str, self.server.pids))

    def smtp(self, size: int, count: int, concurrency: str, runs: int) -> dict[str, Any]:
        """Messages a second into the mailbox."""
        ports = self.server.ports
        login = f"127.0.0.1:{ports['imaps']}:u1@bench.test:{self.password}"
        return self.program(
            "smtp_bench.py", "127.0.0.1", ports["smtp"], "u1@bench.test", "--imap", login, "--count", count, "--size", size,
            "--concurrency", concurrency, "--runs", runs, "--pids", self.pids, "--quiet", 10,
        )["results"]  # fmt: skip

    def mail_in(self, runs: int) -> None:
        """10 KB messages at three concurrencies."""
        for level, result in self.smtp(10240, 1000, "1,10,50", runs).items():
            number = level[1:]
            self.rows[f"in mailbox/s, 10 KB, concurrency {number}"] = result["mailbox_per_s"]["median"]
            self.rows[f"CPU ms a message, concurrency {number}"] = result["server_cpu_ms_per_message"]

    def large_mail(self, runs: int) -> None:
        """10 MB messages."""
        result = self.smtp(10_000_000, 20, "4", runs)["c4"]
        self.rows["in mailbox/s, 10 MB, concurrency 4"] = result["mailbox_per_s"]["median"]

    def imap(self, runs: int) -> None:
        """Commands on the 10,000-message mailbox."""
        where = ("127.0.0.1", self.server.ports["imaps"], "u2@bench.test", self.password)
        filled = self.program("mailbox_fill.py", *where)
        if isinstance(self.server, Product):  # SEARCH TEXT is compared with the index there
            self.rows["search index ready after the fill s"] = round(self.server.wait_for_search_index(), 1)
        report = self.program("imap_bench.py", *where, "--runs", runs, "--pids", self.pids, "--quiet", 10)
        names = {
            "connect_to_greeting": "connect to greeting s", "login": "LOGIN s", "select": "SELECT s",
            "fetch_flags": "FETCH FLAGS s", "fetch_list": "FETCH ENVELOPE BODYSTRUCTURE s", "fetch_headers": "FETCH four headers s",
            "fetch_full": "FETCH all bodies s", "search_subject": "SEARCH SUBJECT s", "search_text": "SEARCH TEXT s",
            "search_unseen": "SEARCH UNSEEN s", "store_seen": "STORE +FLAGS s", "copy": "COPY s", "expunge": "EXPUNGE s",
        }  # fmt: skip
        for key, name in names.items():
            if "median_s" in report.get(key, {}):
                self.rows[name] = report[key]["median_s"]
        self.rows["APPEND 10 KB/s"] = report["append_10k"]["per_s"]
        self.rows["APPEND mixed corpus/s"] = filled["append_per_s"]
        self.pop3(where, runs)

    def pop3(self, where: tuple[str, int, str, str], runs: int) -> None:
        """The same messages over POP3."""
        host, imap_port, user, password = where
        port = self.server.ports["pop3s"]
        report = self.program(
            "pop3_bench.py", host, port, imap_port, user, password, "--runs", runs, "--pids", self.pids, "--quiet", 10
        )
        for key, name in (
            ("pop3_lists", "POP3 login, STAT, LIST, UIDL s"), ("pop3_retr", "POP3 RETR of all s"),
            ("pop3_retr_pipelined", "POP3 RETR of all, pipelined s"), ("pop3_delete", "POP3 DELE of all, QUIT s"),
        ):  # fmt: skip
            self.rows[name] = report[key]["median_s"]

    def idle(self, connections: int) -> None:
        """Idle connections over TLS and how soon one hears of new mail."""
        ports = self.server.ports
        report = self.program(
            "idle_bench.py", "127.0.0.1", ports["imaps"], "u1@bench.test", self.password, ports["smtp"], "u1@bench.test",
            "--idle-user", "u%d@bench.test", "--connections", connections, "--pids", self.pids,
        )  # fmt: skip
        self.rows["KiB an idle TLS connection"] = report["pss_kib_per_connection"]
        self.rows[f"MiB PSS with {connections:,} idle"] = report["memory_idle"]["pss_mib"]
        for key, name in (("accepted_to_exists_ms", "250 to EXISTS"), ("sent_to_exists_ms", "end of data to EXISTS")):
            for percentile in ("p50", "p99"):
                self.rows[f"{name} {percentile} ms"] = report[key][percentile]
        self.rows[f"opening {connections:,} connections s"] = report["open_all"]["s"]


def pipeline(rows: dict[str, float], runs: int, executable: str | None) -> None:
    """What judging and filtering cost; two daemons of its own."""
    command = [sys.executable, str(HERE / "pipeline.py"), "--runs", str(runs), *(["--mailbox", executable] if executable else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PROGRAM_SECONDS)
    for level, found in json.loads(done.stdout).items():
        number = level[1:]
        for kind, name in (("plain", "plain acceptance"), ("whole", "the whole pipeline")):
            rows[f"CPU ms a message, {name}, concurrency {number}"] = found[f"{kind}_ms"]["median"]
            rows[f"messages/s, {name}, concurrency {number}"] = found[f"{kind}_per_s"]["median"]
        rows[f"the whole pipeline / plain acceptance, concurrency {number}"] = found["ratio"]["median"]


def queue_out(product: dict[str, float], peer: dict[str, float], runs: int, executable: str | None, *, with_peer: bool) -> None:
    """Mail out; a daemon and a Postfix of its own."""
    command = [sys.executable, str(HERE / "queue_out.py"), "--runs", str(runs), *(["--mailbox", executable] if executable else [])]
    done = subprocess.run(
        command + ([] if with_peer else ["--no-peer"]), stdout=subprocess.PIPE, text=True, check=True, timeout=PROGRAM_SECONDS
    )
    report = json.loads(done.stdout)
    for key, name in (
        ("sent_per_s", "out messages/s, 10,000 of 10 KB to 100 destinations"), ("submitted_per_s", "submitted/s, 10 connections"),
        ("submit_ms_cpu", "CPU ms a message, submitting and signing"), ("send_ms_cpu", "CPU ms a message, sending"),
        ("ms_cpu", "CPU ms a message out, whole"), ("submit_fsyncs", "fsyncs a message, submitting"),
        ("send_fsyncs", "fsyncs a message, sending"), ("sessions", "connections for all messages out"),
    ):  # fmt: skip
        for rows, side in ((product, "product"), (peer, "postfix")):
            if key in report.get(side, {}):
                rows[name] = report[side][key]


def queue_long(rows: dict[str, float], executable: str | None) -> None:
    """A queue of 100,000; a daemon of its own."""
    command = [sys.executable, str(HERE / "queue_long.py"), *(["--mailbox", executable] if executable else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=PROGRAM_SECONDS)
    report = json.loads(done.stdout)
    for key, value in report["long"].items():
        rows[f"100,000 waiting: {key.replace('_', ' ')}"] = value
    rows["100,000 waiting: start, compared with an empty queue s"] = round(report["long"]["start_s"] - report["empty"]["start_s"], 2)


def cold_start(executable: str | None) -> float:
    """Seconds from starting the product to its first greeting."""
    with Product(0, executable) as product:
        port = product.ports["smtp"]
        product.stop()
        text = product.config.read_text().replace('smtp = ["127.0.0.1:0"]', f'smtp = ["127.0.0.1:{port}"]')
        product.config.write_text(text)
        command = [sys.executable, str(HERE / "cold_start.py"), "127.0.0.1", str(port), "--", *product.command]
        done = subprocess.run(
            [*command, "--config", str(product.config), "serve"], stdout=subprocess.PIPE, text=True, check=True
        )
    return float(json.loads(done.stdout)["greeting_s"]["median"])


def table(sides: list[Side]) -> str:
    """The rows as a Markdown table; the ratio is product / peer."""
    product, peer = sides[0].rows, (sides[1].rows if len(sides) > 1 else {})
    lines = ["| what | product | Postfix + Dovecot | ratio | goal |", "|---|---|---|---|---|"]
    for name, value in product.items():
        other = peer.get(name)
        ratio = f"{value / other:.2f}" if other else "-"
        goal = GOALS.get(name) or ABSOLUTE.get(name, "")
        lines.append(f"| {name} | {value:g} | {'-' if other is None else f'{other:g}'} | {ratio} | {goal} |")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each instead of three")
    parser.add_argument("--only", default="start,memory,smtp,large,pipeline,queue,imap,idle")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--connections", type=int, default=2_000, help="idle ones, the product's; the peer gets 100 at most")
    parser.add_argument("--json", help="write the rows to this file too")
    parser.add_argument("--executable", help="measure this frozen file instead of the source tree")
    options = parser.parse_args()
    parts, runs = options.only.split(","), 1 if options.quick else 3
    failed = False
    with ExitStack() as stack:
        sides = [Side("product", stack.enter_context(Product(20, options.executable)), PASSWORD)]
        if not options.no_peer and shutil.which("postfix") and shutil.which("dovecot"):
            sides.append(Side("peer", stack.enter_context(Peer()), "bench"))
        if "memory" in parts:  # before anything else has grown it
            sides[0].server.stop(), sides[0].server.start()
            sides[0].rows["memory just started MiB PSS"] = memory.memory(sides[0].server.pids)["pss_mib"]
        for part, measure in (
            ("smtp", lambda side: side.mail_in(runs)),
            ("large", lambda side: side.large_mail(runs)),
            ("imap", lambda side: side.imap(runs)),
            # a user has 128 inotify instances by default, and Dovecot takes one a session: without, it looks every half minute
            ("idle", lambda side: side.idle(options.connections if side is sides[0] else min(options.connections, 100))),
        ):
            for side in sides if part in parts else ():
                print(f"== {part}: {side.name}", file=sys.stderr, flush=True)
                try:
                    measure(side)
                except MeasureError as error:  # the rows of the others are worth having; its own are missing
                    print(error, file=sys.stderr, flush=True)
                    failed = True
        if "pipeline" in parts:
            pipeline(sides[0].rows, runs, options.executable)
        if "queue" in parts:
            both = sides[1].rows if len(sides) > 1 else {}
            queue_out(sides[0].rows, both, runs, options.executable, with_peer=len(sides) > 1)
            queue_long(sides[0].rows, options.executable)
        if "start" in parts:
            sides[0].rows["start to first greeting s"] = cold_start(options.executable)
        print(table(sides))
        if options.json:
            Path(options.json).write_text(json.dumps({side.name: side.rows for side in sides}, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
