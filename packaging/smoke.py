#!/usr/bin/env python3
"""Smoke test of the one-file executable: set up, serve, receive by SMTP, read by IMAP, send to a second server, stop.

usage: smoke.py FILE     prints what it did and the size and start figures; exits 1 at the first failure

The whole story is the file's own `demo --once`; around it stand the promises about the file itself: its size, that it runs
with a noexec or full temporary folder, that it unpacks once, and how quickly it starts afterwards.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_LIMIT_BYTES = 45_000_000
RUNS = 7


def run(file: Path, *words: str, environment: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds and output of one command of the file."""
    started = time.monotonic()
    done = subprocess.run(
        [str(file), *words], capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(
            f"`{file.name} {' '.join(words)}` exits {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return seconds, done.stdout


@contextmanager
def mounted(options: str) -> Iterator[str | None]:
    """A small tmpfs with these options; None when we may not mount (not root)."""
    with tempfile.TemporaryDirectory() as folder:
        if (
            os.geteuid()
            or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False).returncode
        ):
            yield None
            return
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def unpacking(file: Path) -> None:
    """First start, later starts, and temporary folders that cannot hold programs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as cache:
        environment = {**os.environ, "MAILBOX_UNPACK_DIR": cache}
        first, _ = run(file, "version", environment=environment)
        later = statistics.median(run(file, "version", environment=environment)[0] for _ in range(RUNS))
        print(f"version: first start {first:.2f} s (unpacks), later {later:.3f} s (goal 0.25)")
        unpacked = list(Path(cache).rglob("base_library.zip"))
        assert len(unpacked) == 1, "unpacked more than once"
    for what, options in (("noexec", "size=80m,noexec"), ("full", "size=64k")):
        with mounted(options) as folder:
            if folder is None:
                print(f"TMPDIR {what}: not tried, mounting needs root")
                continue
            environment = {**os.environ, "MAILBOX_UNPACK_DIR": folder, "TMPDIR": folder}
            run(file, "version", environment=environment)
            print(f"TMPDIR {what}: ok")


def main() -> None:
    """All of it."""
    file = Path(sys.argv[1]).resolve()
    size = file.stat().st_size
    print(f"size: {size / 1e6:.1f} MB (limit {SIZE_LIMIT_BYTES / 1e6:.0f})")
    assert size <= SIZE_LIMIT_BYTES, "too large"
    unpacking(file)
    seconds, output = run(file, "demo", "--once")
    print(output)
    print(f"demo --once: {seconds:.1f} s")


if __name__ == "__main__":
    main()
