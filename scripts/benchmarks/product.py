"""The product in a throw-away directory on free loopback ports, for benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "bench-bench"


class Product:
    """From __enter__ to __exit__: users u1@bench.test .. uN@bench.test. RuntimeError when it is not ready in 20 s."""

    def __init__(self, users: int = 20, executable: str | None = None, *, dns: str = "127.0.0.1:9", more: str = "", words: Sequence[str] = ()) -> None:
        """`dns` is the server it asks, `more` further configuration; `words` follow `serve`."""
        self.users, self.words = users, words
        self.command = [executable] if executable else [str(ROOT / ".venv/bin/mailbox")]
        self.dir = Path(tempfile.mkdtemp(prefix="bench-"))
        self.config = self.dir / "config.toml"
        self.config.write_text(
            f'[server]\nhostname = "mx.bench.test"\ndata_dir = "{self.dir}/data"\nrun_dir = "{self.dir}/run"\n'
            '[listen]\nsmtp = ["127.0.0.1:0"]\nsubmission = []\nsubmissions = []\nimaps = ["127.0.0.1:0"]\npop3s = ["127.0.0.1:0"]\n'
            'managesieve = []\nhttps = []\nhttp = []\nmetrics = []\n'
            '[tls]\nauto_tls = false\n[limits]\nmax_message_bytes = 52428800\n'
            f'[dns]\nservers = ["{dns}"]\ntimeout_seconds = 1\n{more}'
        )

    def run(self, *words: str, text: str | None = None) -> str:
        """One command of the product; its standard output."""
        command = [*self.command, "--config", str(self.config), *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    def start(self) -> None:
        """Start the daemon and wait until it says where it listens."""
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen([*self.command, "--config", str(self.config), "serve", *self.words], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            status = subprocess.run(
                [*self.command, "--config", str(self.config), "status", "--json"], capture_output=True, text=True, check=False
            )
            if status.returncode == 0 and (told := json.loads(status.stdout)).get("ready", True):
                self.ports = {each["service"]: each["port"] for each in told["listeners"]}
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"not ready: {status.stderr} {(self.dir / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, then wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def __enter__(self) -> Product:
        self.start()
        self.run("domain", "add", "bench.test")
        for number in range(1, self.users + 1):
            self.run("user", "add", f"u{number}@bench.test", "--password-file", "-", text=PASSWORD + "\n")
        return self

    def wait_for_search_index(self, seconds: float = 300.0) -> float:
        """Until every message is in the search index; how long that took. RuntimeError when it takes too long."""
        began = time.monotonic()
        while json.loads(self.run("status", "--json"))["search_waiting"]:
            if time.monotonic() - began > seconds:
                raise RuntimeError("the search index is not ready")
            time.sleep(0.5)
        return time.monotonic() - began

    def maildir(self, user: str) -> Path:
        """The Maildir of one user."""
        return self.dir / "data/mail/bench.test" / user / "Maildir"

    @property
    def pids(self) -> list[int]:
        """The supervisor; the rest are its children."""
        return [self.process.pid]

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        if not os.environ.get("BENCH_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
