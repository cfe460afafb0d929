"""The search index of the running server: built behind delivery, thrown away, killed."""

from __future__ import annotations

import imaplib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually
from tests.support.rough import metric

pytestmark = [pytest.mark.system, pytest.mark.slow]
ALICE = "alice@example.org"


@pytest.fixture(params=[False, True], ids=["processes", "single"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path, single=request.param)
    try:
        made.start()
        made.add_account(ALICE)
        yield made
    finally:
        made.destroy()


def append(client: imaplib.IMAP4_SSL, *subjects: str) -> None:
    for subject in subjects:
        body = f"Subject: {subject}\r\n\r\nhello\r\n".encode()
        assert client.append("INBOX", None, None, body)[0] == "OK"


def found(client: imaplib.IMAP4_SSL, text: str) -> bytes:
    client.select("INBOX", readonly=True)
    status, (numbers,) = client.uid("SEARCH", "TEXT", text)
    assert status == "OK"
    return bytes(numbers)


def indexed(daemon: Daemon, file: Path) -> bool:
    return file.exists() and daemon.call("status")["search_waiting"] == 0


def test_mail_is_found_before_and_after_it_is_indexed(daemon: Daemon) -> None:
    file = daemon.folder / "data" / "mail" / "example.org" / "alice" / "search.db"
    with daemon.imap(ALICE) as client:
        append(client, "a zebra", "a horse")
        assert found(client, "zebra") == b"1"
        eventually("the index is made", lambda: indexed(daemon, file))
        assert found(client, "zebra") == b"1"
        assert found(client, "quagga") == b""
        append(client, "another zebra")
        assert found(client, "zebra") == b"1 3"
        rebuilt = daemon.call("store.rebuild_search", address=ALICE)
        assert (rebuilt["messages"], rebuilt["size_bytes"]) == (3, file.stat().st_size)
        assert found(client, "zebra") == b"1 3"
        file.write_bytes(b"not a database any more" * 1000)
        assert found(client, "zebra") == b"1 3"
        append(client, "a last zebra")
        eventually("the index is made anew", lambda: file.exists() and file.read_bytes()[:6] == b"SQLite")
        assert found(client, "zebra") == b"1 3 4"
        assert metric(daemon, "errors_total") == 0


def test_a_killed_core_indexes_what_it_left(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    try:
        daemon.start()
        daemon.add_account(ALICE)
        file = daemon.folder / "data" / "mail" / "example.org" / "alice" / "search.db"
        with daemon.imap(ALICE) as client:
            append(client, *(f"zebra {number}" for number in range(20)))
            os.kill(daemon.process("core")["pid"], signal.SIGKILL)
            eventually("the core is back and has indexed", lambda: _answers(daemon) and indexed(daemon, file))
            assert len(found(client, "zebra").split()) == 20
    finally:
        daemon.destroy()


def _answers(daemon: Daemon) -> bool:
    try:
        return bool(daemon.call("status")["ready"])
    except OSError:
        return False
