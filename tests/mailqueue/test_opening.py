"""Which queue opens, and what a node is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.config.schema import Queue
from mailbox_app.mailqueue.opening import node_names, open_queue, open_spool
from mailbox_app.mailqueue.redis.backend import RedisQueue
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.queue import RecordingBus


def test_the_backend_that_is_configured_opens_even_when_redis_is_not_there(tmp_path: Path) -> None:
    for settings, kind in (
        (Queue(), SqliteQueue),
        (Queue(backend="redis", redis_url=f"unix://{tmp_path}/nothing"), RedisQueue),
    ):
        spool = open_spool(settings, tmp_path)
        queue = open_queue(settings, tmp_path, spool, RecordingBus(), SystemClock())
        assert isinstance(queue, kind)
        queue.close()


def test_a_server_without_redis_does_not_load_its_library() -> None:
    program = "import sys, mailbox_app.runtime.wiring; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_a_node_keeps_its_name_and_knows_those_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = node_names(tmp_path)
    assert node_names(tmp_path) == (first, [])
    assert (tmp_path / "node").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("socket.gethostname", lambda: "renamed")
    second, former = node_names(tmp_path)
    assert (second != first, former) == (True, [first])
    monkeypatch.undo()
    assert node_names(tmp_path) == (first, [second])


def test_a_server_with_redis_has_loaded_all_of_it_before_root_is_given_up() -> None:
    program = (
        "import sys, mailbox_app.mailqueue.opening as opening\n"
        "from mailbox_app.config.schema import Queue\n"
        "opening.load(Queue(backend='redis', redis_url='unix:///nowhere'))\n"
        "sys.exit(not {'redis.client', 'redis.exceptions', 'redis.backoff', 'mailbox_app.mailqueue.redis.moving',"
        " 'mailbox_app.mailqueue.redis.backend'} <= set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
