"""Metrics of several processes add up; a restarted role goes on counting, its gauges start anew."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from mailbox_app.observe.metrics import Metrics, clear_shared, exposition, share, total

NAMES = [
    "messages_received_total", "messages_sent_total", "messages_rejected_total", "messages_bounced_total",
    "messages_queued_total", "delivery_duration_seconds", "delivery_retries_total", "queue_depth", "active_connections",
    "connections_total", "auth_attempts_total", "imap_commands_total", "dav_requests_total", "greylist_checks_total",
    "quota_exceeded_total", "uptime_seconds", "errors_total",
]  # fmt: skip


@pytest.fixture(autouse=True)
def unshared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    yield
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)


def in_child(action: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_every_name_is_exposed() -> None:
    text = exposition(Metrics(), None).decode()
    assert all(f"# HELP mailserver_{name.removesuffix('_total')}" in text for name in NAMES)


def test_many_metrics_live_side_by_side() -> None:
    first, second = Metrics(), Metrics()
    first.errors.inc()
    assert total(second, None, "mailserver_errors_total") == {"": 0.0}


def test_every_page_of_shared_files_is_there_before_it_is_used(tmp_path: Path) -> None:
    def front() -> None:
        share(tmp_path, "front-1")
        Metrics().active_connections.labels("imap").inc()

    in_child(front)
    found = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert set(found) == {f"{kind}_front-1.db" for kind in ("counter", "histogram", "gauge_livemax", "gauge_livesum")}
    assert all(stat.st_blocks * 512 >= stat.st_size == 65_536 for stat in found.values())


def test_without_room_for_shared_files_metrics_stay_in_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    share(tmp_path, "front-1")
    metrics = Metrics()
    metrics.errors.inc()
    assert total(metrics, None, "mailserver_errors_total") == {"": 1.0}


def test_processes_add_up_and_a_restarted_one_goes_on(tmp_path: Path) -> None:
    def front(role: str) -> None:
        share(tmp_path, role)
        metrics = Metrics()
        metrics.messages_received.inc(2)
        metrics.active_connections.labels("imap").inc(3)

    in_child(lambda: front("front-1"))
    in_child(lambda: front("front-2"))
    in_child(lambda: front("front-1"))
    share(tmp_path, "core")
    core = Metrics()
    assert total(core, tmp_path, "mailserver_messages_received_total") == {"": 6.0}
    assert total(core, tmp_path, "mailserver_active_connections") == {"imap": 6.0}
    assert b"mailserver_messages_received_total 6.0" in exposition(core, tmp_path)
    clear_shared(tmp_path)
    assert list(tmp_path.iterdir()) == []
