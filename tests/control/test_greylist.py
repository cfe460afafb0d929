"""Greylisting from the console and the command line: who waits, letting in, exemptions, and what the audit says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.control.client import ControlClient, ControlError
from mailbox_app.policy.state.greylist import Attempt, Rule
from tests.support.control import Appliance, Background

RULE = Rule(300, 35 * 86_400, 3_600, 3, 5)
ATTEMPT = Attempt("192.0.2.0/24", "a@x.example", "x.example", "b@example.org", "192.0.2.1", "no \x1b[31mname")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(appliance.config_path), "greylist", *words])
        out, err = capsys.readouterr()
        return code, re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\dZ", "TIME", out), err

    return command


def test_who_waits_is_told_and_let_in(appliance: Appliance, client: ControlClient) -> None:
    greylist = appliance.state.state.greylist
    assert client.call("greylist.list", {}) == {"waiting": [], "total": 0}
    greylist.decide(ATTEMPT, RULE)
    (row,) = client.call("greylist.list", {})["waiting"]
    assert (row["sender"], row["recipient"], row["attempts"]) == ("a@x.example", "b@example.org", 1)
    assert "\x1b" not in row["reason"]
    assert row["first_at"] < row["passes_at"] < row["passes_at_latest"]
    let_in = client.call("greylist.let_in", {"greylist_id": row["greylist_id"]})
    assert let_in["greylist_id"] == row["greylist_id"]
    assert greylist.decide(ATTEMPT, RULE).word == "known"
    with pytest.raises(ControlError) as caught:
        client.call("greylist.let_in", {"greylist_id": 4711})
    assert caught.value.code == "greylist.unknown"


def test_what_dns_could_not_check_tells_its_own_end(appliance: Appliance, client: ControlClient) -> None:
    appliance.state.state.greylist.decide(
        replace(ATTEMPT, origin="dmarc:192.0.2.0/24"), replace(RULE, min_delay_seconds=3_600)
    )
    (row,) = client.call("greylist.list", {})["waiting"]
    assert row["passes_at"] == row["passes_at_latest"]


def test_exemptions_hold_and_are_in_the_audit(appliance: Appliance, client: ControlClient) -> None:
    kinds = [
        client.call("greylist.allow", {"value": value})["kind"]
        for value in ("x.example", "a@y.example", "192.0.2.0/24", "2001:db8::1")
    ]
    assert kinds == ["domain", "sender", "network", "network"]
    client.call("greylist.allow", {"value": "b@example.org", "kind": "recipient", "note": "wants none"})
    assert appliance.state.state.allowances.why("198.51.100.1", "x@z.example", "b@example.org")
    assert len(client.call("greylist.allowed", {})["allowed"]) == 5
    client.call("greylist.disallow", {"value": "X.example"})
    with pytest.raises(ControlError):
        client.call("greylist.disallow", {"value": "X.example"})
    with pytest.raises(ControlError):
        client.call("greylist.allow", {"value": "no network/99"})
    rows = client.call("audit.list", {})["entries"]
    assert [(row["what"], row["object"]) for row in rows if row["what"] == "greylist.disallow"][-1] == (
        "greylist.disallow",
        "domain X.example",
    )


def test_the_command_line_lists_allows_and_takes_back(appliance: Appliance, run: Run) -> None:
    assert run("list") == (0, "Nobody waits.\n", "")
    assert run("allow") == (0, "Nobody is exempt: mailbox greylist allow example.org\n", "")
    appliance.state.state.greylist.decide(ATTEMPT, RULE)
    code, out, _ = run("list")
    assert code == 0
    assert "a@x.example" in out
    assert "192.0.2.1" in out
    number = json.loads(run("list", "--json")[1])["waiting"][0]["greylist_id"]
    assert run("allow", "--now", str(number)) == (
        0,
        "a@x.example is let in to b@example.org at its next attempt.\n",
        "",
    )
    assert run("list")[1] == "Nobody waits.\n"
    assert run("allow", "x.example", "--note", "ours") == (0, "The domain x.example never waits from now on.\n", "")
    assert run("allow", "b@example.org", "--recipient")[1] == "The recipient b@example.org never waits from now on.\n"
    assert "ours" in run("allow")[1]
    told = run("allow", "y.example", "--for", "b@example.org")
    assert told == (0, "The domain y.example never waits from now on for b@example.org.\n", "")
    assert run("allow", "y.example", "--remove")[0] == 1, "it is not exempt for all"
    assert run("allow", "y.example", "--for", "b@example.org", "--remove")[0] == 0
    assert run("allow", "--for", "b@example.org")[0] == 2
    assert [each["kind"] for each in json.loads(run("allow", "--json")[1])["allowed"]] == ["domain", "recipient"]
    assert run("allow", "x.example", "--remove") == (0, "The domain x.example is no longer exempt.\n", "")
    assert run("allow", "x.example", "--remove")[0] == 1
    assert run("allow", "--now", "x.example")[0] == 2
    assert run("allow", "--remove")[0] == 2


def test_a_text_is_looked_for_in_every_row(appliance: Appliance, client: ControlClient) -> None:
    greylist = appliance.state.state.greylist
    greylist.decide(ATTEMPT, RULE)
    greylist.decide(replace(ATTEMPT, sender="c@y.example", sender_key="y.example", remote_ip="192.0.2.9"), RULE)
    for text, total in (
        ("", 2),
        ("A@X.example", 1),
        ("192.0.2.9", 1),
        ("b@example.org", 2),
        ("%", 0),
        ("192.0.2.0/24", 2),
    ):
        found = client.call("greylist.list", {"text": text, "limit": 1})
        assert (found["total"], len(found["waiting"])) == (total, min(1, total)), text
