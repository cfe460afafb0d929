"""The daemon with its queue in Redis: mail flows, a Redis that is away means 4xx and a pause, and a switch moves the queue."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, Daemon, eventually, mail, untrusting
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.system]
ALICE = "alice@example.org"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.destroy()


def node(folder: Path, server: RedisServer | None) -> Daemon:
    folder.mkdir(exist_ok=True)
    made = Daemon(folder, fronts=1, ports=False)
    use(made, server)
    return made


def use(daemon: Daemon, server: RedisServer | None) -> None:
    plain = daemon.config.read_text().partition("\n[queue]\n")[0]
    queue = "" if server is None else f'\n[queue]\nbackend = "redis"\nredis_url = "{server.url}"\n'
    daemon.config.write_text(plain + queue)


@contextlib.contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.destroy()


def test_mail_waits_in_redis_survives_its_loss_and_moves_with_the_configuration(
    tmp_path: Path, server: RedisServer
) -> None:
    daemon = node(tmp_path / "one", None)
    with running(daemon):
        daemon.add_account(ALICE)
        queue_alice(daemon, "<1@example.net>")
        queued = daemon.call("queue.stats")["recipients"]
        assert queued == 1
        assert daemon.stop() == 0

        use(daemon, server)
        daemon.start()
        client = server.client()
        eventually("the queue is in Redis", lambda: client.zcard("mailbox:queue:messages") == 1)
        assert daemon.call("queue.stats")["recipients"] == 1
        queue_alice(daemon, "<2@example.net>")
        assert client.zcard("mailbox:queue:messages") == 2

        server.kill()
        with pytest.raises(smtplib.SMTPException) as refused:
            queue_alice(daemon, "<3@example.net>")
        assert 400 <= getattr(refused.value, "smtp_code", 451) < 500
        server.start()
        eventually("it takes mail again", lambda: _accepted(daemon, "<4@example.net>"))
        assert daemon.call("queue.stats")["recipients"] == 3
        for each in daemon.call("status")["processes"]:  # no chance to tidy up
            with contextlib.suppress(ProcessLookupError):
                os.kill(each["pid"], signal.SIGKILL)
        daemon.wait()

        use(daemon, None)
        client.delete("mailbox:queue:nodes")  # as after ten minutes without the others
        daemon.start()
        eventually("the queue is in SQLite again", lambda: client.zcard("mailbox:queue:messages") == 0)
        assert daemon.call("queue.stats")["recipients"] == 3
        assert daemon.stop() == 0


def queue_alice(daemon: Daemon, message_id: str) -> None:
    """Mail of a user to a domain whose name server does not answer: it waits."""
    text = mail(message_id, 500).replace(b"bob@example.net", ALICE.encode()).replace(b"To: alice@", b"To: bob@")
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=20) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, ["bob@elsewhere.example"], text)


def _accepted(daemon: Daemon, message_id: str) -> bool:
    with contextlib.suppress(smtplib.SMTPException, OSError):
        queue_alice(daemon, message_id)
        return True
    return False
