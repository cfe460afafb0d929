import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.tui.daemon import Data, FixtureDaemon
from tui.client import CallError, Client


async def until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("never became true")


class Connected:
    """A daemon and a running client."""

    def __init__(self, folder: Path, data: Data | None = None) -> None:
        self.daemon = FixtureDaemon(str(folder / "control.sock"), data)
        self.changes = 0
        self.client = Client(self.daemon.path, on_change=self.changed)

    def changed(self) -> None:
        self.changes += 1

    async def __aenter__(self) -> "Connected":
        await self.daemon.start()
        self.task = asyncio.create_task(self.client.run())
        await until(lambda: self.client.connected)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if self.daemon.listening:
            await self.daemon.stop()


async def test_answers_are_matched_to_requests_by_id(tmp_path: Path) -> None:
    async with Connected(tmp_path) as it:
        answers = await asyncio.gather(*(it.client.call("queue.list", {"offset": n, "limit": 1}) for n in range(14)))
        assert [answer["offset"] for answer in answers] == list(range(14))


async def test_progress_is_told_before_the_answer_and_only_to_who_asked_for_it(tmp_path: Path) -> None:
    async with Connected(tmp_path) as it:
        told: list[tuple[int, int]] = []
        params = {"address": "anna@example.org", "ids": ["1-36"]}
        answer = await it.client.call("retained.restore", params, progress=lambda *steps: told.append(steps))
        assert (told, answer["restored"]) == ([(1, 2), (2, 2)], 1)
        assert (await it.client.call("retained.restore", params))["left_out"] == 1


async def test_a_refusal_is_one_sentence_with_its_remedy(tmp_path: Path) -> None:
    data = Data()
    data.gone.add(3)
    async with Connected(tmp_path, data) as it:
        with pytest.raises(CallError, match="no such message") as caught:
            await it.client.call("queue.show", {"id": "4XK000003"})
        assert caught.value.code == "queue.no_such_id"
        assert caught.value.sentence().endswith("It may have been delivered.")


async def test_deltas_are_merged_into_the_snapshot(tmp_path: Path) -> None:
    async with Connected(tmp_path) as it:
        states: list[dict[str, Any]] = []
        it.client.subscribe("audit", lambda state: states.append(dict(state)))
        await until(lambda: states)
        it.daemon.data.audit_count = 213
        it.daemon.push()
        await until(lambda: states[-1]["count"] == 213)
        assert states[-1]["verified_to"] is None


async def test_a_gap_in_seq_asks_for_the_whole_state_again(tmp_path: Path) -> None:
    async with Connected(tmp_path) as it:
        states: list[dict[str, Any]] = []
        it.client.subscribe("audit", lambda state: states.append(dict(state)))
        await until(lambda: states)
        it.daemon.data.audit_count = 300
        it.daemon.push(skip=1)
        await until(lambda: states[-1]["count"] == 300)
        assert [call["method"] for call in it.daemon.calls].count("sub") == 2
        await until(lambda: len(it.daemon.subscriptions) == 1)


async def test_subscriptions_come_back_after_a_lost_connection(tmp_path: Path) -> None:
    async with Connected(tmp_path) as it:
        states: list[dict[str, Any]] = []
        it.client.subscribe("audit", lambda state: states.append(dict(state)))
        await until(lambda: states)
        await it.daemon.stop()
        await until(lambda: not it.client.connected)
        with pytest.raises(CallError, match="not connected"):
            await it.client.call("status")
        it.daemon.data.audit_count = 400
        await it.daemon.start()
        it.client.retry_now()
        await until(lambda: states[-1]["count"] == 400)


async def test_a_call_that_waits_fails_when_the_connection_breaks(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"hello": {"protocol": 1}}\n')
        await reader.readline()
        writer.close()

    server = await asyncio.start_unix_server(rude, path)
    client = Client(path, on_change=lambda: None)
    task = asyncio.create_task(client.run())
    await until(lambda: client.connected)
    with pytest.raises(CallError, match="connection was lost"):
        await client.call("status")
    task.cancel()
    server.close()


@pytest.mark.parametrize(
    "first",
    [b"not json\n", b"[1]\n", b"{}\n", b'{"hello": {}}' + b" " * 1_100_000 + b"\n", b"\xff\xfe\n", b""],
    ids=["garbage", "no object", "no greeting", "too long", "not utf-8", "closed"],
)
async def test_a_broken_peer_is_a_lost_connection_with_a_reason(tmp_path: Path, first: bytes) -> None:
    path = str(tmp_path / "control.sock")

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        writer.close()

    server = await asyncio.start_unix_server(broken, path)
    client = Client(path, on_change=lambda: None)
    task = asyncio.create_task(client.run())
    await until(lambda: client.error)
    assert not client.connected
    assert client.retry_at is not None
    task.cancel()
    server.close()


async def test_a_refused_peer_keeps_the_code(tmp_path: Path) -> None:
    it = Connected(tmp_path)
    it.daemon.refuse = "control.not_permitted"
    await it.daemon.start()
    task = asyncio.create_task(it.client.run())
    await until(lambda: it.client.error_code == "control.not_permitted")
    task.cancel()
    await it.daemon.stop()


async def test_frames_before_the_answer_to_sub_are_not_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")

    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"hello": {"protocol": 1}}\n')
        frame = json.loads(await reader.readline())
        writer.write(b'{"sub": 5, "seq": 1, "snap": {"count": 1}}\n')
        writer.write(json.dumps({"id": frame["id"], "result": {"sub": 5}}).encode() + b"\n")
        await reader.readline()

    server = await asyncio.start_unix_server(eager, path)
    client = Client(path, on_change=lambda: None)
    states: list[dict[str, Any]] = []
    client.subscribe("audit", lambda state: states.append(dict(state)))
    task = asyncio.create_task(client.run())
    await until(lambda: states)
    assert states == [{"count": 1}]
    task.cancel()
    server.close()


async def test_a_socket_path_longer_than_the_kernel_takes_works(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_PATH)
    daemon = FixtureDaemon(f"/proc/self/fd/{descriptor}/control.sock")
    await daemon.start()
    client = Client(str(folder / "control.sock"), on_change=lambda: None)
    task = asyncio.create_task(client.run())
    await until(lambda: client.connected)
    task.cancel()
    await daemon.stop()
    os.close(descriptor)
