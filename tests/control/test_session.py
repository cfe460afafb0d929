"""The protocol over a real socket, spoken by hand."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.control import server as server_module
from mailbox_app.control.schema import Call, Method, NoParams
from mailbox_app.control.session import Session
from mailbox_app.control.wire import MAX_FRAME_BYTES
from mailbox_app.errors import StoreError
from tests.support.control import Appliance, build, close


class Wire:
    """A client that sees every frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), 10)
        frame: dict[str, Any] = json.loads(line) if line else {}
        return frame

    def write(self, number: int, method: str, via: str = "test", **params: object) -> None:
        self.writer.write(json.dumps({"id": number, "method": method, "params": params, "via": via}).encode() + b"\n")

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        self.write(1, method, **params)
        return await self.read()


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[Appliance]:
    made = build(tmp_path)
    await made.server.start()
    yield made
    await made.server.stop()
    close(made)


async def connect(appliance: Appliance) -> Wire:
    wire = Wire(*await asyncio.open_unix_connection(str(appliance.socket_path), limit=MAX_FRAME_BYTES * 2))
    hello = (await wire.read())["hello"]
    assert hello["protocol"] == 1
    assert hello["uid"] == os.getuid()
    return wire


async def test_the_greeting_names_version_host_and_peer(appliance: Appliance) -> None:
    reader, _ = await asyncio.open_unix_connection(str(appliance.socket_path))
    hello = json.loads(await reader.readline())["hello"]
    assert (hello["version"], hello["hostname"]) == ("1.2.3", "mail.example.org")
    assert appliance.socket_path.stat().st_mode & 0o777 == 0o660


async def test_anybody_else_gets_one_error_frame_and_is_closed(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_peer_ids", lambda _: (4_000_000, 4_000_000))
    wire = Wire(*await asyncio.open_unix_connection(str(appliance.socket_path)))
    assert (await wire.read())["error"]["code"] == "control.not_permitted"
    assert await wire.read() == {}


async def test_pipelined_requests_are_all_answered(appliance: Appliance) -> None:
    wire = await connect(appliance)
    for number in range(50):
        wire.write(number, "domain.add", name=f"d{number}.example")
    answers = [await wire.read() for _ in range(50)]
    assert sorted(answer["id"] for answer in answers) == list(range(50))
    assert all("result" in answer for answer in answers)
    assert appliance.context.audit.verify().count == 50


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"hello\n", "control.bad_frame"),
        (b'{"id":1,"method":"nope"}\n', "control.no_such_method"),
        (b'{"id":1,"method":"user.show"}\n', "control.bad_params"),
        (b'{"id":1,"method":"status","params":{"x":1}}\n', "control.bad_params"),
        (b'{"id":1,"method":"queue.list","params":{"limit":501}}\n', "control.bad_params"),
        (b'{"id":1,"method":"sub","params":{"topic":"nope"}}\n', "control.no_such_topic"),
        (b'{"id":1,"method":"queue.show","params":{"id":"nope"}}\n', "queue.no_such_id"),
    ],
)
async def test_a_bad_request_is_answered_and_the_connection_goes_on(
    appliance: Appliance, line: bytes, code: str
) -> None:
    wire = await connect(appliance)
    wire.writer.write(line)
    assert (await wire.read())["error"]["code"] == code
    assert "result" in await wire.ask("domain.list")


async def test_an_endless_line_ends_the_connection(appliance: Appliance) -> None:
    wire = await connect(appliance)
    wire.writer.write(b"x" * (MAX_FRAME_BYTES + 10))
    assert (await wire.read())["error"]["code"] == "control.bad_frame"
    assert await wire.read() == {}


async def test_a_failed_change_is_audited_with_its_reason(appliance: Appliance) -> None:
    wire = await connect(appliance)
    await wire.ask("user.add", address="a@nowhere.example", password="correct horse battery")
    entry = (await wire.ask("audit.list"))["result"]["entries"][0]
    assert (entry["what"], entry["object"], entry["via"]) == ("user.add", "a@nowhere.example", "test")
    assert entry["result"].startswith("account.no_such_domain")
    assert "horse" not in json.dumps(entry)


async def test_an_unexpected_failure_is_told_without_its_details_and_audited(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance.context.directory, "add_domain", lambda name: 1 / 0)
    wire = await connect(appliance)
    error = (await wire.ask("domain.add", name="example.org"))["error"]
    assert (error["code"], error["temporary"]) == ("control.failed", True)
    assert "division" not in json.dumps(error)
    assert appliance.context.audit.head() == 1


async def test_a_client_that_hangs_up_does_not_cut_its_change_short(appliance: Appliance) -> None:
    wire = await connect(appliance)
    wire.write(1, "domain.add", name="example.org")
    await wire.writer.drain()
    wire.writer.transport.abort()
    other = await connect(appliance)
    for _ in range(500):
        if (await other.ask("audit.list"))["result"]["total"]:
            break
    assert appliance.context.directory.is_local_domain("example.org")


async def test_a_subscription_sends_the_whole_state_once_and_then_only_what_changed(appliance: Appliance) -> None:
    wire = await connect(appliance)
    assert (await wire.ask("sub", topic="audit", max_hz=10))["result"] == {"sub": 1}
    first = await wire.read()
    assert first == {"sub": 1, "seq": 1, "snap": {"count": 0, "last_no": 0, "verified_to": 0}}
    other = await connect(appliance)
    await other.ask("domain.add", name="example.org")
    assert await wire.read() == {"sub": 1, "seq": 2, "delta": {"count": 1, "last_no": 1}}


@pytest.mark.parametrize("topic", ["health", "traffic", "queue.window", "audit", "user.window"])
async def test_every_topic_gives_a_state_and_ends_on_request(appliance: Appliance, topic: str) -> None:
    wire = await connect(appliance)
    number = (await wire.ask("sub", topic=topic, max_hz=10))["result"]["sub"]
    assert (await wire.read())["snap"]
    wire.write(9, "unsub", sub=number)
    while (answer := await wire.read()).get("id") != 9:
        assert answer["sub"] == number
    assert answer["result"] == {}


async def test_the_queue_window_is_subscribed_with_filter_and_sort(appliance: Appliance) -> None:
    appliance.enqueue("a@example.org", ["x@one.example", "y@two.example"])
    wire = await connect(appliance)
    await wire.ask("sub", topic="queue.window", args={"filter": {"domain": "two.example"}, "sort": "age", "limit": 5})
    snap = (await wire.read())["snap"]
    assert [row["to"] for row in snap["rows"]] == ["y@two.example"]
    assert snap["stats"]["recipients"] == 2


async def test_connected_consoles_are_counted(appliance: Appliance) -> None:
    console = await connect(appliance)
    console.write(1, "domain.list", via="console")
    await console.read()
    assert appliance.server.consoles() == 1


async def test_a_stopped_server_lets_a_running_change_end(appliance: Appliance) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_context: object, call: Call, _params: NoParams) -> NoParams:
        begun.set()
        await go_on.wait()
        call.object = "slow"
        return NoParams()

    appliance.server._methods = {"slow": Method("slow", NoParams, NoParams, slow, "Waits.", changes=True)}
    wire = await connect(appliance)
    wire.write(1, "slow")
    await begun.wait()
    stopping = asyncio.create_task(appliance.server.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert await wire.read() == {"id": 1, "result": {}}
    assert appliance.context.audit.head() == 1
    assert not appliance.socket_path.exists()


async def test_a_change_whose_audit_entry_cannot_be_written_is_not_called_done(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> int:
        raise StoreError("store.full", "storage is not writable now", temporary=True)

    monkeypatch.setattr(appliance.context.audit, "append", full)
    wire = await connect(appliance)
    assert (await wire.ask("domain.add", name="example.org"))["error"]["code"] == "store.full"


async def test_a_client_that_never_reads_holds_no_more_than_its_share(appliance: Appliance) -> None:
    wire = await connect(appliance)
    for number in range(2000):
        wire.write(number, "schema")
    assert "result" in await (await connect(appliance)).ask("domain.list")
    session: Session = next(iter(appliance.server._sessions.values()))
    assert session._running._value >= 0
    wire.writer.transport.abort()
