"""A running server: a report that comes by mail is shown and lies in its mailbox all the same; mail is counted for others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailbox_app.clock import SystemClock
from mailbox_app.policy.state.dmarc_rows import SqliteDmarcRows
from tests.delivery.test_report_reading import ABOUT_US, mail
from tests.support.daemon import Daemon, eventually
from tests.support.dns_thread import dns_in_thread

pytestmark = pytest.mark.system


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    made.start()
    yield made
    made.destroy()


def deliver(daemon: Daemon, raw: bytes) -> None:
    with daemon.smtp() as client:
        client.sendmail("noreply@reporter.example", ["postmaster@example.org"], raw)


def test_a_report_by_mail_is_shown(daemon: Daemon) -> None:
    daemon.add_account("postmaster@example.org")
    now = 4_000_000_000  # a period that ends in the future is as recent as can be
    first = replace(ABOUT_US, begin_seconds=now, end_seconds=now + 86_399)
    deliver(daemon, b"Message-ID: <1@reporter.example>\r\n" + mail(first, top=b""))
    found = eventually("the report", lambda: daemon.call("report.list", days=1)["reports"])
    assert [(each["domain"], each["messages"], each["proven"]) for each in found] == [("example.org", 4, False)]
    shown = daemon.call("report.show", report_no=found[0]["report_no"])
    assert [row["source_ip"] for row in shown["rows"]] == ["192.0.2.1", "2001:db8::1"]
    assert daemon.call("report.summary", domain="example.org")["messages"] == 0
    sources = daemon.call("report.summary", domain="example.org", unproven=True)["sources"]
    assert {each["source_ip"]: each["failed"] for each in sources} == {"192.0.2.1": 3, "2001:db8::1": 0}
    assert daemon.message_ids("postmaster@example.org") + daemon.message_ids("postmaster@example.org", "Junk") == [
        "<1@reporter.example>"
    ]
    deliver(daemon, b"Message-ID: <2@reporter.example>\r\n" + mail(replace(first, report_id="next"), top=b""))
    eventually("both reports", lambda: daemon.call("report.list", days=1)["total"] == 2)


def test_what_comes_in_a_domains_name_is_counted_at_every_front(tmp_path: Path) -> None:
    with dns_in_thread() as dns:
        dns.zone["_dmarc.a.example", "TXT"] = ["v=DMARC1; p=none; rua=mailto:dmarc@a.example"]
        dns.zone["a.example", "TXT"] = ["v=spf1 ip4:127.0.0.1 -all"]
        daemon = Daemon(tmp_path)
        text = daemon.config.read_text().replace('"127.0.0.1:9"', f'"{dns.address}"')
        daemon.config.write_text(text + "\n[delivery]\nallow_private_addresses = true\n")
        daemon.start()
        rows = SqliteDmarcRows(tmp_path / "data" / "reports.db", SystemClock())
        try:
            daemon.add_account("alice@example.org")
            for number in range(6):
                with daemon.smtp() as client:
                    raw = f"From: a@a.example\r\nSubject: hi\r\nMessage-ID: <{number}@a.example>\r\n\r\nhi\r\n"
                    client.sendmail("a@a.example", ["alice@example.org"], raw)

            def counted() -> list[tuple[str, int, str, str, str]]:
                days = [rows.gathered(day, domain) for day, domain in rows.waiting(1_000_000, 10)]
                return [
                    (row.source_ip, row.count, row.spf, row.dkim, row.disposition)
                    for day in days
                    if day is not None
                    for row in day.rows
                ]

            eventually("six messages", lambda: sum(count for _, count, *_ in counted()) == 6)
            assert {(source, *rest) for source, _, *rest in counted()} == {("127.0.0.1", "pass", "fail", "none")}
        finally:
            rows.close()
            daemon.destroy()
