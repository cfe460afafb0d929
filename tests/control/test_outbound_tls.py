from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailbox_app.cli.main import cli
from mailbox_app.control.client import ControlClient
from mailbox_app.errors import ControlError
from mailbox_app.outbound.tls.memory import CachedPolicy, DomainLevel, Level, TlsMemory
from mailbox_app.proto.mta_sts_policy import StsMode, StsPolicy
from tests.support.control import Appliance, Background
from tests.support.dns import FakeResolver


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        yield made


@pytest.fixture
def zone(appliance: Appliance) -> FakeResolver:
    resolver = appliance.context.resolver
    assert isinstance(resolver, FakeResolver)
    resolver.zone = {
        ("there.example", "MX"): ["10 mx.there.example.", "20 mx.evil.example."],
        ("mx.there.example", "A"): ["192.0.2.1"],
        ("mx.evil.example", "A"): ["192.0.2.2"],
        ("_mta-sts.there.example", "TXT"): ["v=STSv1; id=7"],
    }
    return resolver


def remember(appliance: Appliance) -> None:
    clock = appliance.context.clock
    now = clock.epoch_seconds()
    memory = TlsMemory(appliance.context.data_dir / "tls.db", clock)
    policy = StsPolicy(StsMode.ENFORCE, 86_400, ("mx.there.example",))
    memory.put_policy(CachedPolicy("there.example", "7", policy, now, now + 86_400, now, now))
    memory.put_level(DomainLevel("there.example", Level.VERIFIED, now - 900, 4, int(now // 86_400)))
    memory.close()


def test_what_binds_a_domain_is_told_host_by_host(
    appliance: Appliance, client: ControlClient, zone: FakeResolver
) -> None:
    remember(appliance)
    zone.authenticated |= {"there.example", "mx.there.example", "_25._tcp.mx.there.example"}
    zone.zone[("_25._tcp.mx.there.example", "TLSA")] = ["3 1 1 " + "ab" * 32]
    found = client.call("tls.policy", {"domain": "There.Example."})
    assert found["domain"] == "there.example"
    assert (found["sts"]["mode"], found["sts"]["hosts"], found["sts"]["record_id"]) == (
        "enforce", ["mx.there.example"], "7",
    )  # fmt: skip
    assert found["hosts"] == [
        {
            "host": "mx.there.example",
            "sentence": "It must show a key that its DNS vouches for (DANE of mx.there.example).",
            "is_usable": True,
            "tlsa": ["3 1 1 " + "ab" * 32],
        },
        {
            "host": "mx.evil.example",
            "sentence": "It gets no mail now: MTA-STS of there.example (enforce) names other hosts than mx.evil.example,"
            " so it gets no mail.",
            "is_usable": False,
            "tlsa": [],
        },
    ]
    assert (found["level"]["level"], found["level"]["days"], found["level"]["is_expected"]) == ("verified", 4, True)
    assert found["dane"].startswith("DANE is not used: the DNS resolver does not validate")


def test_an_exception_is_made_seen_audited_and_ended(
    appliance: Appliance, client: ControlClient, zone: FakeResolver
) -> None:
    remember(appliance)
    made = client.call("tls.except", {"domain": "there.example", "seconds": 3600, "reason": "their MX moves"})
    until = datetime.fromisoformat(made["until"])
    assert (until - appliance.context.clock.now(), made["in_force"]) == (
        pytest.approx(timedelta(hours=1), abs=timedelta(seconds=60)),
        True,
    )
    found = client.call("tls.policy", {"domain": "there.example"})
    assert found["exception"]["reason"] == "their MX moves"
    assert all(host["is_usable"] for host in found["hosts"])
    assert [one["domain"] for one in client.call("tls.exceptions")["exceptions"]] == ["there.example"]
    entry = client.call("audit.list")["entries"][0]
    assert (entry["what"], entry["object"], "their MX moves" in str(entry["after"])) == (
        "tls.except",
        "there.example",
        True,
    )
    client.call("tls.end_exception", {"domain": "there.example"})
    assert not client.call("tls.policy", {"domain": "there.example"})["hosts"][1]["is_usable"]
    with pytest.raises(ControlError, match="no exception"):
        client.call("tls.end_exception", {"domain": "there.example"})


@pytest.mark.parametrize("domain", ["x", "a@b.example", "a b.example", "..", "a..example"])
def test_what_is_no_domain_is_refused(client: ControlClient, domain: str) -> None:
    with pytest.raises(ControlError, match="no domain"):
        client.call("tls.policy", {"domain": domain})


def test_the_commands(appliance: Appliance, zone: FakeResolver) -> None:
    remember(appliance)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["--config", str(appliance.context.config_path), "tls", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert run("exception", "list") == "No domain is excepted.\n"
    day = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")
    assert run("exception", "add", "there.example", "--until", day, "--reason", "moving") == (
        f"The policies of there.example do not count until {day} 23:59Z.\n"
    )
    assert f"until {day}" in run("policy", "there.example")
    assert "there.example" in run("exception", "list")
    run("exception", "remove", "there.example")
    said = run("policy", "there.example")
    assert "MTA-STS: enforce, id 7" in said
    assert "mx.evil.example: It gets no mail now" in said
    bad = CliRunner().invoke(
        cli,
        ["--config", str(appliance.context.config_path), "tls", "exception", "add", "a.example", "--until", "2020-01-01",
         "--reason", "x"],
    )  # fmt: skip
    assert (bad.exit_code, "over already" in bad.output) == (2, True)
