"""Bans from the console and the command line, what the audit says, and the self-test that they hold at the door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient, ControlError
from tests.support.control import Appliance, Background


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        yield made


def test_a_ban_is_made_told_ended_and_in_the_audit(appliance: Appliance, client: ControlClient) -> None:
    bans = appliance.state.state.bans
    made = client.call("ban.add", {"network": "192.0.2.77/24", "reason": "no \x1b[31mend", "seconds": 3600})
    assert (made["network"], made["source"]) == ("192.0.2.0/24", "operator")
    assert bans.find("192.0.2.5") is not None
    found = client.call("ban.list", {})
    assert (found["total"], "\x1b" in found["bans"][0]["reason"]) == (1, False)
    assert client.call("ban.remove", {"network": "192.0.2.0/24"})["network"] == "192.0.2.0/24"
    assert bans.find("192.0.2.5") is None
    entries = client.call("audit.list", {"limit": 10})["entries"]
    assert {entry["what"] for entry in entries} >= {"ban.add", "ban.remove"}
    for params, code in (({"network": "192.0.2.0/24"}, "ban.unknown"), ({"network": "nobody"}, "ban.invalid")):
        with pytest.raises(ControlError) as caught:
            client.call("ban.remove", params)
        assert caught.value.code == code


def test_the_command_line_bans_and_lets_in_again(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        code = main(["--config", str(appliance.config_path), "ban", *words])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    assert run("list") == "Nobody is banned.\n"
    assert run("add", "2001:db8::1", "--reason", "guesses").startswith("2001:db8::1/128 is banned until it is removed")
    assert "until 20" in run("add", "192.0.2.1", "--for", "12h")
    assert "without effect" in run("add", "127.0.0.1")
    (_, _, first) = json.loads(run("list", "--json"))["bans"]
    assert (first["network"], first["reason"], first["expires_at"]) == ("2001:db8::1/128", "guesses", None)
    assert "guesses" in run("remove", "2001:db8::1")


def test_a_text_is_looked_for_in_every_ban(client: ControlClient) -> None:
    client.call("ban.add", {"network": "192.0.2.7", "reason": "Guesses passwords"})
    client.call("ban.add", {"network": "198.51.100.0/24"})
    for text, total in (("", 2), ("guesses", 1), ("198.51", 1), ("operator", 2), ("nothing", 0)):
        assert client.call("ban.list", {"text": text})["total"] == total, text
