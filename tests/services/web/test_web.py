"""Scrapers get metrics and an honest state; strangers get little and not for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.model import HoldRule, Pause, QueueStats
from mailbox_app.observe.metrics import Metrics, exposition
from mailbox_app.services.web.health import HealthChecks, Probes
from mailbox_app.services.web.server import WebService


class State:
    """What the probes find."""

    def __init__(self) -> None:
        self.directory_error: Exception | None = None
        self.days = 90
        self.down: Sequence[str] = ()

    def domains(self) -> Sequence[str]:
        if self.directory_error:
            raise self.directory_error
        return ["example.org"]

    def stats(self, now: datetime) -> QueueStats:
        return QueueStats(3, 3, 2, 1, 0, 0, now - timedelta(days=2))

    def pauses(self) -> Sequence[Pause]:
        return [Pause("down.example", "they move", datetime(2026, 1, 5, tzinfo=UTC))]

    def rules(self) -> Sequence[HoldRule]:
        return [HoldRule(1, submitter="anna@example.org", reason="brake: too much")]

    def problems(self) -> Sequence[str]:
        return ["Redis keeps nothing on its disk"]


Ask = Callable[[bytes], "asyncio.Future[tuple[int, bytes]]"]


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def port(state: State, tmp_path: Path) -> AsyncIterator[int]:
    offload = Offload(2)
    probes = Probes(state, state, tmp_path, lambda: state.days, lambda: state.down, lambda: ["bl.example"])  # type: ignore[arg-type]
    metrics = Metrics()
    metrics.messages_received.inc(7)
    service = WebService(lambda: exposition(metrics, None), HealthChecks(probes, offload, SystemClock()))
    server = await asyncio.get_running_loop().create_server(service.factory, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    offload.close()


@pytest.fixture
def unwritable(tmp_path: Path) -> None:
    (tmp_path / "tmp").write_text("in the way, also for root")


async def talk(port: int, request: bytes) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


async def get(port: int, path: str) -> tuple[int, bytes]:
    return await talk(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_metrics_are_exposed(port: int) -> None:
    status, body = await get(port, "/metrics?x=1")
    assert status == 200
    assert b"mailserver_messages_received_total 7.0" in body


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_a_well_server_says_ok(port: int, path: str) -> None:
    status, body = await get(port, path)
    assert (status, json.loads(body)["status"]) == (200, "ok")


async def test_the_detailed_answer_names_every_part(port: int) -> None:
    status, body = await get(port, "/health/detailed")
    parts = json.loads(body)["components"]
    assert status == 200
    assert set(parts) == {
        "directory",
        "queue",
        "storage",
        "certificate",
        "dns_lists",
        "signing_keys",
        "outbound",
        "processes",
    }
    assert parts["queue"] == {
        "status": "ok",
        "reason": "",
        "recipients": 3,
        "deferred": 2,
        "active": 1,
        "held": 0,
        "quarantined": 0,
        "late": 0,
        "oldest_seconds": 172_800,
        "paused": ["down.example"],
        "problems": [
            "Redis keeps nothing on its disk",
            "The oldest message has been waiting for 2 days",
            "Delivery to down.example is paused",
            "All mail of anna@example.org is held, brake: too much: mailbox user resume anna@example.org",
        ],
    }
    assert parts["storage"]["free_bytes"] > 0
    assert parts["dns_lists"] == {"status": "ok", "reason": "", "switched_off": ["bl.example"]}


async def test_a_broken_directory_is_degraded_and_not_ready(port: int, state: State) -> None:
    state.directory_error = StoreError("store.busy", "storage is busy", temporary=True)
    assert (await get(port, "/health"))[0] == 503
    status, body = await get(port, "/health/detailed")
    assert (status, json.loads(body)["components"]["directory"]) == (
        503,
        {"status": "degraded", "reason": "storage is busy"},
    )
    assert await get(port, "/ready") == (503, b"not ready\n")


async def test_an_expired_certificate_is_degraded_but_ready(port: int, state: State) -> None:
    state.days = -1
    assert (await get(port, "/health"))[0] == 503
    assert (await get(port, "/ready"))[0] == 200


async def test_a_process_down_is_named(port: int, state: State) -> None:
    state.down = ["front-2"]
    _, body = await get(port, "/health/detailed")
    assert json.loads(body)["components"]["processes"]["reason"] == "not serving: front-2"


async def test_a_folder_that_cannot_be_written_is_degraded(port: int, unwritable: None) -> None:
    _, body = await get(port, "/health/detailed")
    assert json.loads(body)["components"]["storage"]["status"] == "degraded"


async def test_head_has_no_body(port: int) -> None:
    assert await talk(port, b"HEAD /health HTTP/1.1\r\n\r\n") == (200, b"")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"\x00\xff\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_anything_else_is_refused(port: int, request_bytes: bytes, status: int) -> None:
    assert (await talk(port, request_bytes))[0] == status


async def test_a_banned_client_gets_no_answer() -> None:
    asked: list[str] = []

    async def admits(remote_ip: str) -> bool:
        asked.append(remote_ip)
        return len(asked) > 1

    offload = Offload(1)
    probes = Probes(State(), State(), Path(), lambda: None, list, list)  # type: ignore[arg-type]
    service = WebService(lambda: b"", HealthChecks(probes, offload, SystemClock()), admits)
    server = await asyncio.get_running_loop().create_server(service.factory, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with suppress(ConnectionResetError):
        assert await get(port, "/metrics") == (0, b"")
    assert (await get(port, "/metrics"))[0] == 200
    assert asked == ["127.0.0.1", "127.0.0.1"]
    server.close()
    offload.close()
