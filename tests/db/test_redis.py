"""The way to Redis: a dead server costs one wait and then nothing, and a password that others can read is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.config.schema import Queue
from mailbox_app.db import redis as module
from mailbox_app.db.redis import PAUSE_SECONDS, RedisLink, password
from mailbox_app.errors import ConfigError, StoreError
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis").start()
    yield made
    made.destroy()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def link_to(server: RedisServer, clock: FakeClock, **settings: str) -> RedisLink:
    return RedisLink(Queue(redis_url=server.url, **settings), clock)  # type: ignore[arg-type]


class Asked:
    """Counts how often the server was really asked."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.count = 0

    def once(self) -> str:
        def work(client: object) -> bool:
            self.count += 1
            return bool(client.ping())  # type: ignore[attr-defined]

        try:
            self._link.call(work)
        except StoreError as error:
            return error.code if error.temporary else "for good"
        return "ok"


def test_a_dead_server_is_asked_once_in_a_while_and_by_one_caller(server: RedisServer, clock: FakeClock) -> None:
    link = link_to(server, clock)
    asked = Asked(link)
    assert asked.once() == "ok"
    server.kill()
    assert [asked.once() for _ in range(100)] == ["redis.unreachable"] * 100
    assert (asked.count, link.failure_count, link.is_up) == (2, 1, False)
    clock.skip(PAUSE_SECONDS)
    assert [asked.once() for _ in range(100)] == ["redis.unreachable"] * 100
    assert asked.count == 3
    server.start()
    assert asked.once() == "redis.unreachable"
    clock.skip(PAUSE_SECONDS)
    assert asked.once() == "ok"
    assert asked.once() == "ok"
    assert link.is_up
    link.close()
    assert asked.once() == "store.closed"


def test_a_server_that_was_started_again_is_used_without_an_error(server: RedisServer, clock: FakeClock) -> None:
    link = link_to(server, clock)
    asked = Asked(link)
    assert asked.once() == "ok"
    server.kill()
    server.start()
    assert asked.once() == "ok"
    link.close()


def test_a_server_that_says_nothing_is_given_up(
    server: RedisServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    link = link_to(server, clock)
    asked = Asked(link)
    assert asked.once() == "ok"
    server.freeze()
    assert asked.once() == "redis.unreachable"
    assert asked.once() == "redis.unreachable"
    assert asked.count == 2
    server.thaw()
    link.check()
    assert asked.once() == "ok", "a look from outside ends the pause"
    link.close()


def test_an_answer_that_is_an_error_keeps_the_way_open(server: RedisServer, clock: FakeClock) -> None:
    link = link_to(server, clock)
    broken = link.script("return redis.call('NO_SUCH_COMMAND')")
    with pytest.raises(StoreError) as caught:
        broken((), ())
    assert (caught.value.code, caught.value.temporary) == ("redis.refused", True)
    assert link.is_up
    assert Asked(link).once() == "ok"
    link.close()


def test_scripts_outlive_a_server_that_forgot_them(server: RedisServer, clock: FakeClock) -> None:
    link = link_to(server, clock)
    run = link.script("return {KEYS[1], ARGV[1]}")
    assert run([link.key("a", "b")], [7]) == [b"mailbox:a:b", b"7"]
    with server.client() as client:
        client.script_flush()
    assert run([link.key("a")], ["x"]) == [b"mailbox:a", b"x"]
    link.close()


def test_a_password_comes_from_a_file_that_nobody_else_can_read(tmp_path: Path, clock: FakeClock) -> None:
    server = RedisServer(tmp_path / "redis", "--requirepass", "a secret: with, signs")
    file = tmp_path / "password"
    file.write_text("a secret: with, signs\n")
    file.chmod(0o600)
    server_client, server.client = server.client, lambda **rest: server_client(password="a secret: with, signs", **rest)  # type: ignore[method-assign]
    server.start()
    try:
        with pytest.raises(StoreError):
            link_to(server, clock).check()
        link = link_to(server, clock, redis_password_file=str(file))
        link.check()
        link.close()
        file.write_text("another one\n")
        with pytest.raises(StoreError):
            link_to(server, clock, redis_password_file=str(file)).check()
    finally:
        server.destroy()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        password(str(file))
    assert "chmod 600" in caught.value.public_text
    assert "secret" not in str(caught.value)


def test_settings_that_cannot_work_are_told_at_once(tmp_path: Path, clock: FakeClock) -> None:
    for settings in (
        Queue(redis_url="http://localhost"),
        Queue(redis_url="redis://localhost", redis_password_file=str(tmp_path / "none")),
    ):
        with pytest.raises(ConfigError):
            RedisLink(settings, clock)
