"""`policy.show` and the topic `spam`: how mail from outside is judged, and how much is held up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.cli.main import main
from mailbox_app.config.load import load
from mailbox_app.control.client import ControlClient
from mailbox_app.control.methods import policy
from mailbox_app.control.methods.policy import Numbers, SpamNumbers
from mailbox_app.policy.checks import CHECKS
from mailbox_app.policy.state.greylist import Attempt, Rule
from tests.support.clock import FakeClock
from tests.support.control import Appliance, Background, build, close


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


def test_checks_with_their_modes_and_lists_with_their_meanings(appliance: Appliance) -> None:
    wanted = (
        '[dnsbl.lists."bl.example".answers]\n"127.0.0.2" = { meaning = "spam", score = 2.0 }\n'
        '[policy]\njunk_score = 6.0\n[policy.checks]\nptr = "advisory"\n'
    )
    appliance.config_path.write_text(appliance.config_path.read_text() + wanted)
    appliance.context.config = load(appliance.config_path)
    appliance.context.metrics.dns_list_off.labels("bl.example").set(1)
    with ControlClient(appliance.socket_path, via="test") as client:
        found = client.call("policy.show")
        assert found["junk_score"] == 6.0
        checks = {each["name"]: each for each in found["checks"]}
        assert len(checks) == len(found["checks"])
        assert (checks["ptr"]["mode"], checks["ptr"]["default_mode"]) == ("advisory", "enforce")
        assert checks["greylist"]["stage"] == "recipient, message"
        assert all(each["doc"] for each in found["checks"])
        assert found["lists"] == [{"zone": "bl.example", "use": "block", "off": True, "meanings": ["spam +2"]}]
        client.call("config.set", {"key": "policy.checks.ptr", "value": "off"})
        appliance.context.config = load(appliance.config_path)
        assert {each["name"]: each["mode"] for each in client.call("policy.show")["checks"]}["ptr"] == "off"


def test_numbers_are_counted_again_after_two_seconds(tmp_path: Path) -> None:
    clock = FakeClock()
    made = build(tmp_path, clock)
    try:
        numbers = SpamNumbers(made.context)
        assert numbers.look() == Numbers(0, 0, 0, 0)
        attempt = Attempt("192.0.2.0/24", "a@b.example", "b.example", "c@example.org", "192.0.2.1", "no SPF")
        made.context.policy_state.greylist.decide(attempt, Rule(300, 86_400, 3600, 3, 5))
        made.context.policy_state.allowances.add("domain", "good.example", "")
        assert numbers.look().waiting == 0
        clock.skip(3)
        assert numbers.look() == Numbers(1, 1, 0, 0)
    finally:
        close(made)


def test_the_command_tells_checks_and_lists(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(appliance.config_path), "policy"]) == 0
    out = capsys.readouterr().out
    assert "Junk from score 5, never refused by score alone." in out
    assert "sender_authentication  message" in out
    assert main(["--config", str(appliance.config_path), "policy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lists"] == []


def test_every_check_is_told_to_people() -> None:
    assert {make.name for make in CHECKS} == set(policy._WHAT)  # type: ignore[attr-defined]
