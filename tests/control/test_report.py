"""Reports on the command line: what others told us, what we told others, where the DNS records send them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mailbox_app.cli.main import main
from mailbox_app.config.reports import Reports
from mailbox_app.control.client import ControlClient, ControlError
from mailbox_app.policy.state.sent_reports import DAY_SECONDS, Sent
from mailbox_app.proto.dmarc_report import DkimLine, DmarcReport, Reason, Row, SpfLine
from tests.proto.test_dmarc_report import REPORT
from tests.support.control import Appliance, Background

Run = Callable[..., tuple[int, str, str]]
OURS = Row("192.0.2.1", 90, "pass", "pass", "pass", "example.org", "example.org")


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    with Background(tmp_path) as made:
        yield made


@pytest.fixture
def client(appliance: Appliance) -> Iterator[ControlClient]:
    with ControlClient(appliance.socket_path, via="test") as made:
        made.call("domain.add", {"name": "example.org"})
        yield made


@pytest.fixture
def run(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(["--config", str(appliance.config_path), "report", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def add(appliance: Appliance, *rows: Row, proven: bool = True, **changes: str) -> None:
    now = int(appliance.context.clock.epoch_seconds())
    policy = replace(REPORT.published, domain="example.org")
    report: DmarcReport = replace(
        REPORT, published=policy, rows=rows, begin_seconds=now - 90_000, end_seconds=now - 3_600
    )
    report = replace(report, **changes)  # type: ignore[arg-type]
    assert appliance.context.reports.add_dmarc(report, "r@reporter.example", proven=proven, at_seconds=now)


def test_reports_are_listed_and_shown(appliance: Appliance, client: ControlClient, run: Run) -> None:
    add(appliance, OURS, replace(OURS, source_ip="203.0.113.7", count=10, dkim="fail", spf="fail"))
    (listed,) = client.call("report.list", {})["reports"]
    assert (listed["domain"], listed["messages"], listed["passed"], listed["proven"]) == ("example.org", 100, 90, True)
    assert client.call("report.list", {"domain": "other.example"}) == {"reports": [], "total": 0}
    shown = client.call("report.show", {"report_no": listed["report_no"]})
    assert [row["source_ip"] for row in shown["rows"]] == ["192.0.2.1", "203.0.113.7"]
    assert shown["policy"]["policy"] == "reject"
    with pytest.raises(ControlError) as caught:
        client.call("report.show", {"report_no": 4711})
    assert caught.value.code == "report.unknown"
    code, out, _ = run("show", str(listed["report_no"]))
    assert code == 0
    assert "203.0.113.7" in out
    assert "100, 90 passed" in out
    assert run("list")[1].splitlines()[1].split()[1:4] == ["dmarc", "example.org", "mail.example.org"]
    assert json.loads(run("list", "--json")[1])["total"] == 1


def test_texts_of_strangers_do_not_reach_the_terminal_as_they_are(
    appliance: Appliance, client: ControlClient, run: Run
) -> None:
    reason = Reason("other", "a\x1b[2Jb")
    add(appliance, replace(OURS, header_from="x\x1b[31m.example", reasons=(reason,)), organization="evil\x1b[0m\u202e")
    assert client.call("report.list", {})["total"] == 1
    for words in (("list",), ("show", "1"), ("summary",)):
        code, out, _ = run(*words)
        assert code == 0
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_the_summary_says_what_to_do(appliance: Appliance, client: ControlClient, run: Run) -> None:
    bad = replace(OURS, count=50, dkim="fail", spf="fail", disposition="none")
    shop = DkimLine("shop.example", "s", "pass")
    bounce = SpfLine("bounce.example", "pass")
    add(
        appliance,
        OURS,
        replace(bad, source_ip="203.0.113.1", signatures=(shop,)),
        replace(bad, source_ip="203.0.113.2", spf_results=(bounce,)),
        replace(bad, source_ip="203.0.113.3", disposition="reject"),
        replace(bad, source_ip="203.0.113.4", signatures=(DkimLine("example.org", "s", "fail"),)),
        replace(bad, source_ip="203.0.113.5", reasons=(Reason("mailing_list"),)),
        replace(bad, source_ip="203.0.113.6", count=2),
    )
    add(appliance, replace(OURS, count=5), report_id="second")
    add(appliance, replace(bad, source_ip="198.51.100.1"), proven=False, report_id="forged")
    found = client.call("report.summary", {"domain": "example.org"})
    assert (found["reports"], found["messages"], found["passed"]) == (2, 347, 95)
    sources = {each["source_ip"]: each for each in found["sources"]}
    assert sources["192.0.2.1"]["messages"] == 95
    told = {address[-1]: each["advice"] for address, each in sources.items()}
    assert told["1"].startswith("It is signed by shop.example, not by example.org: if you use that service")
    assert "SPF proves bounce.example" in told["2"]
    assert "all of them were refused" in told["3"]
    assert "changed on the way" in told["4"]
    assert "mailing list: nothing to do" in told["5"]
    assert "others let them through" in told["6"]
    assert told["6"].endswith("It is little: wait and see.")
    assert sources["192.0.2.1"]["failed"] == 0
    assert "198.51.100.1" not in sources
    assert len(client.call("report.summary", {"unproven": True})["sources"]) == 8
    code, out, _ = run("summary", "--domain", "example.org")
    assert code == 0
    assert out.startswith("example.org, 30 days: 347 messages in 2 reports of 1 reporter, 95 passed.")
    assert "203.0.113.1: 50 failed. It is signed by shop.example" in out


def test_what_we_sent_is_told(appliance: Appliance, client: ControlClient, run: Run) -> None:
    now = appliance.context.clock.epoch_seconds()
    sent = Sent(int(now // DAY_SECONDS) - 1, "a.example", "dmarc@a.example", now, "queued", 7)
    appliance.state.state.dmarc_rows.note_sent(sent)
    (told,) = client.call("report.sent", {})["sent"]
    assert (told["domain"], told["address"], told["outcome"], told["messages"]) == (
        "a.example",
        "dmarc@a.example",
        "queued",
        7,
    )
    assert "dmarc@a.example" in run("sent")[1]
    assert run("sent", "--domain", "b.example")[1] == "None was sent.\n"


def test_old_reports_go_and_a_better_proof_replaces_a_doubtful_one(appliance: Appliance, client: ControlClient) -> None:
    reports, now = appliance.context.reports, appliance.context.clock.epoch_seconds()
    add(appliance, replace(OURS, count=1), proven=False)
    add(appliance, replace(OURS, count=2))
    (row,) = client.call("report.list", {})["reports"]
    assert (row["messages"], row["proven"]) == (2, True)
    again = replace(REPORT, published=replace(REPORT.published, domain="example.org"))
    assert not reports.add_dmarc(again, "x@y.example", proven=True, at_seconds=now)
    assert reports.purge(now - 60) == 0
    add(appliance, OURS, OURS, report_id="second")
    add(appliance, OURS, proven=False, report_id="doubtful, but the latest")
    assert reports.purge(0, max_rows=3) == 1
    assert [each["proven"] for each in client.call("report.list", {})["reports"]] == [True, True]
    assert reports.purge(0, max_rows=2) == 1
    assert reports.purge(now + 60) == 1
    assert client.call("report.list", {})["total"] == 0


def test_reports_go_where_the_configuration_says(appliance: Appliance, client: ControlClient) -> None:
    client.call("domain.add", {"name": "other.example"})

    def values(domain: str) -> dict[str, str]:
        records = client.call("domain.dns", {"name": domain})["records"]
        return {each["name"]: each["value"] for each in records if each["name"].startswith(("_dmarc", "other"))}

    assert values("example.org") == {"_dmarc.example.org.": "v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"}
    config = appliance.context.config
    appliance.context.config = msgspec.structs.replace(config, reports=Reports(address="dmarc@example.org"))
    assert values("example.org") == {
        "_dmarc.example.org.": "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.org",
        "other.example._report._dmarc.example.org.": "v=DMARC1",
    }
    assert values("other.example")["_dmarc.other.example."].endswith("rua=mailto:dmarc@example.org")
