"""Passwords and keys of a whole run: in no log, answer, process list or file that others can read."""

from __future__ import annotations

import smtplib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import PASSWORD, SECONDS, Daemon, eventually, untrusting
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.system]
ALICE = "alice@example.org"
REDIS, ROUTE = "redis-geheim-4711", "route-geheim-0815"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    server = RedisServer(tmp_path / "redis").start()
    server.client().config_set("requirepass", REDIS)
    (tmp_path / "node").mkdir()
    made = Daemon(tmp_path / "node", fronts=1)
    for name, secret in (("redis.password", REDIS), ("route.password", ROUTE)):
        (made.folder / name).write_text(f"{secret}\n")
        (made.folder / name).chmod(0o600)
    made.config.write_text(
        made.config.read_text() + f'\n[queue]\nbackend = "redis"\nredis_url = "{server.url}"\n'
        'redis_password_file = "redis.password"\n[routes]\nrules = ["* -> relay"]\n[routes.via.relay]\n'
        'hosts = ["127.0.0.1:1"]\nuser = "us"\npassword_file = "route.password"\n'
        "[delivery]\nallow_private_addresses = true\n"
    )
    try:
        yield made.start()
    finally:
        made.destroy()
        server.destroy()


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (REDIS, ROUTE, PASSWORD, "PRIVATE KEY") if secret in text]


def test_no_secret_is_told_or_left_where_others_can_read_it(daemon: Daemon) -> None:
    daemon.add_account(ALICE)
    with daemon.smtp() as client:
        client.sendmail("x@remote.example", [ALICE], b"Subject: in\r\n\r\nhi\r\n")
    listed = submit_outside(daemon)
    told = [
        str(daemon.call("config.show")),
        str(listed),
        str(daemon.call("queue.show", id=listed["rows"][0]["id"])),
        str(daemon.call("status")),
        str(daemon.call("route.list")),
        str(daemon.call("dkim.list")),
        str(daemon.call("audit.list")),
        urllib.request.urlopen(
            f"http://127.0.0.1:{daemon.ports['metrics']}/health/detailed", timeout=SECONDS
        ).read().decode(),
    ]  # fmt: skip
    processes = [each["pid"] for each in daemon.call("status")["processes"]]
    for pid in processes:
        told += [Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ")]
    told.append(daemon.log_path.read_text())
    assert [found for text in told for found in secrets_in(text)] == []
    open_files = [
        str(path.relative_to(daemon.folder))
        for top in ("data", "run")
        for path in (daemon.folder / top).rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    ]
    assert open_files == []


def submit_outside(daemon: Daemon) -> dict[str, object]:
    text = f"From: {ALICE}\r\nTo: bob@there.example\r\nSubject: out\r\n\r\nhello\r\n"
    with smtplib.SMTP_SSL("127.0.0.1", daemon.ports["submissions"], context=untrusting(), timeout=20) as client:
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, ["bob@there.example"], text)
    found: dict[str, object] = {}

    def tried() -> bool:
        found.update(daemon.call("queue.list", limit=10))
        return any(row["last"] or row["reason"] for row in found["rows"])  # type: ignore[attr-defined]

    eventually("tried", tried)
    return found
