"""Breakers from the console and the command line, and what the audit says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient, ControlError
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.destinations.breakers import Passage
from tests.support.control import Appliance, Background

HOST = "mx.there.example:25"


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    background = Background(tmp_path)
    asyncio.run(_break(background.appliance))
    with background as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        yield made


async def _break(appliance: Appliance) -> None:
    breakers = appliance.context.breakers
    for _ in range(5):
        await breakers.failed(Passage(HOST), "no connection to mx.there.example [192.0.2.1]: \x1b[31mtimed out")
    await breakers.ask(HOST, "there.example")


def next_at(appliance: Appliance, queue_id: QueueId) -> float:
    [row] = appliance.context.queue.message(queue_id).recipients
    return (row.next_at - appliance.context.clock.now()).total_seconds()


def test_an_open_breaker_is_told_with_its_reason_and_next_probe(client: ControlClient) -> None:
    found = client.call("breaker.list", {})
    assert (found["total"], found["passed_over"]) == (1, 1)
    [view] = found["breakers"]
    assert (view["host"], view["state"], view["failures"], view["waiting"]) == (HOST, "open", 5, ["there.example"])
    assert view["next_probe"] is not None
    assert "\x1b" not in json.dumps(found)
    assert client.call("breaker.show", {"host": "MX.there.example"})["why"].startswith(
        "mx.there.example is passed over since 5 connections in a row failed (the last time: no connection"
    )


def test_a_probe_by_hand_lets_one_waiting_message_go_now(appliance: Appliance, client: ControlClient) -> None:
    ids = [appliance.enqueue("a@example.org", [f"{number}@there.example"]) for number in range(3)]
    until = appliance.context.clock.now() + timedelta(minutes=5)
    appliance.context.queue.postpone("there.example", until, "open", gap_seconds=1.0, most_seconds=60.0)
    done = client.call("breaker.probe", {"host": HOST})
    assert "One message tries it now" in done["effect"]
    assert sum(next_at(appliance, queue_id) <= 0 for queue_id in ids) == 1
    [entry] = [one for one in client.call("audit.list", {"limit": 10})["entries"] if one["what"] == "breaker.probe"]
    assert entry["object"] == HOST


def test_a_reset_closes_and_makes_all_waiting_mail_go(appliance: Appliance, client: ControlClient) -> None:
    queue_id = appliance.enqueue("a@example.org", ["b@there.example"])
    until = appliance.context.clock.now() + timedelta(minutes=5)
    appliance.context.queue.postpone("there.example", until, "open", gap_seconds=1.0, most_seconds=60.0)
    assert "1 waiting recipient" in client.call("breaker.reset", {"host": HOST})["effect"]
    assert next_at(appliance, queue_id) <= 0
    assert client.call("breaker.list", {})["breakers"] == []
    for method in ("breaker.show", "breaker.probe", "breaker.reset"):
        with pytest.raises(ControlError) as caught:
            client.call(method, {"host": HOST})
        assert caught.value.code == "breaker.unknown"


def test_the_command_line_lists_probes_and_resets(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        code = main(["--config", str(appliance.config_path), "breaker", *words])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    assert HOST in run("list")
    assert "open" in run("list")
    assert json.loads(run("list", "--json"))["breakers"][0]["state"] == "open"
    assert "mail to there.example" in run("show", "mx.there.example")
    assert "none is known to wait" in run("probe", HOST)
    assert "as usual" in run("reset", HOST)
    assert run("list") == "All hosts are in order.\n"
