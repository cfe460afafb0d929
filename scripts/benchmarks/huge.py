"""What the commands a client waits for cost in mailboxes of 1,000 to 1,000,000 messages: they should not grow.

The mailboxes are made beside the server, which is stopped meanwhile: rows by the store's own statements, files as hard
links of a few. Everything measured goes over IMAP with TLS. Run it by the product's own Python:

    .venv/bin/python scripts/benchmarks/huge.py [--sizes 1000,10000,100000,1000000] [--runs 5] [--json FILE]

1,000,000 messages take about a minute and 1.5 GB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["BENCH_TLS"] = "1"

from imap_raw import Imap
from product import PASSWORD, Product

from mailbox_app.clock import SystemClock
from mailbox_app.events.bus import LocalBus
from mailbox_app.ids import AccountId, AccountRef
from mailbox_app.store.interface import Content
from mailbox_app.store.maildir import filenames, queries
from mailbox_app.store.maildir.backend import MaildirStore
from mailbox_app.store.maildir.opened import Work

_LINKS = 50_000
"""Of one file: ext4 allows 65,000."""
_ROWS = 50_000
_ROWS_NAMES = ("SELECT", "FETCH of the last 50", "STORE of one", "EXPUNGE of one", "APPEND of one", "IDLE notice")


def fill(data_dir: Path, user: str, count: int) -> float:
    """Give a user's INBOX so many messages; the seconds it took. The server must not run."""
    started = time.monotonic()
    store = MaildirStore(data_dir, LocalBus(), hostname="mx.bench.test", clock=SystemClock())
    ref = AccountRef(AccountId(1), "bench.test", user, 0)
    inbox = store.account(ref).mailbox("INBOX").mailbox_id
    numbers = itertools.count()
    with store._handles.using(ref) as opened:
        for start in range(0, count, _ROWS):
            with opened.writing(durable=False) as work:
                row = work.mailbox(inbox)
                work.touching(row)
                size = min(_ROWS, count - start)
                work.reserve_uids(row, size)
                _fill_part(store, ref, work, row, size, numbers)
    store.close()
    return time.monotonic() - started


def _fill_part(
    store: MaildirStore, ref: AccountRef, work: Work, row: queries.MailboxRow, count: int, numbers: itertools.count[int]
) -> None:
    now, cur = int(time.time()), work.opened.cur(row)
    text = f"From: a@example.org\r\nTo: b@example.org\r\nSubject: part {row.uidnext}\r\n\r\ntext\r\n".encode()
    staged = store.stage(ref, Content(b"", text, len(text)), synced=False)
    modseq = work.next_modseq(row)
    messages, rendered = [], []
    for _ in range(count):
        uid = row.uidnext
        stem = filenames.stem(now, f"M{now}000000P1Q{next(numbers)}", row.mailbox_id, work.opened.host, len(text), uid)
        os.link(staged.path, f"{cur}/{filenames.file_name(stem, 1)}")
        key = row.base + uid
        messages.append((key, row.mailbox_id, modseq, 1, len(text), now, now, 1, stem))
        rendered.append(queries.rendered_row(key, staged.rendered))
        row.uidnext = uid + 1
    store.discard(staged)
    queries.insert_messages(work.connection, messages, rendered)
    row.message_count += count
    row.size_bytes += count * len(text)
    work.account.used_bytes += count * len(text)
    work.account.used_messages += count


def measure(port: int, user: str, count: int, runs: int) -> dict[str, float]:
    """Medians in milliseconds."""

    first = _connected(port, user)
    first.select("INBOX")  # the first one after the start opens the index
    found: dict[str, list[float]] = {name: [] for name in _ROWS_NAMES}
    for run in range(runs):
        client = _connected(port, user)
        last, victim = max(1, count - 60), count // 2 + run
        found["SELECT"].append(_timed(client.command, "SELECT INBOX"))
        found["FETCH of the last 50"].append(_timed(client.command, f"FETCH {last}:{last + 49} (UID FLAGS ENVELOPE)"))
        found["STORE of one"].append(_timed(client.command, f"UID STORE {victim} +FLAGS (\\Deleted)"))
        found["EXPUNGE of one"].append(_timed(client.command, "EXPUNGE"))
        found["IDLE notice"].append(_notice(first, client, found["APPEND of one"]))
        client.close()
    first.close()
    return {name: round(median(values), 2) for name, values in found.items()}


def _connected(port: int, user: str) -> Imap:
    made = Imap("127.0.0.1", port)
    made.login(f"{user}@bench.test", PASSWORD)
    return made


def _timed(work: Callable[..., object], *words: object) -> float:
    started = time.perf_counter()
    work(*words)
    return (time.perf_counter() - started) * 1000


def _notice(idler: Imap, client: Imap, appended: list[float]) -> float:
    """From the tagged OK of an APPEND to the EXISTS of another session in IDLE; 0: it was there already."""
    tag = idler.tag()
    idler.sock.sendall(tag + b" IDLE\r\n")
    while not idler.line().startswith(b"+"):
        pass
    appended.append(_timed(client.append, "INBOX", b"From: a@example.org\r\nSubject: new\r\n\r\ntext\r\n"))
    started = time.perf_counter()
    while b" EXISTS" not in idler.line():
        pass
    waited = (time.perf_counter() - started) * 1000
    idler.sock.sendall(b"DONE\r\n")
    idler.finish(tag)
    return waited


def main() -> int:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    curve: dict[int, dict[str, float]] = {}
    with Product(users=len(sizes)) as server:
        server.stop()
        for number, size in enumerate(sizes, 1):
            seconds = fill(server.dir / "data", f"u{number}", size)
            print(f"{size:,} messages made in {seconds:.0f} s", file=sys.stderr)
        server.start()
        for number, size in enumerate(sizes, 1):
            curve[size] = measure(server.ports["imaps"], f"u{number}", size, options.runs)
        server.stop()
    print("| ms | " + " | ".join(f"{size:,}" for size in sizes) + " |")
    print("|---|" + "---|" * len(sizes))
    for name in _ROWS_NAMES:
        print(f"| {name} | " + " | ".join(f"{curve[size][name]:.1f}" for size in sizes) + " |")
    if options.json:
        Path(options.json).write_text(json.dumps(curve, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
