"""What encryption came to in a day: counted, sent, and read where it arrives."""

from __future__ import annotations

import email.policy
import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from mailbox_app.delivery.report_reading import ReportReader
from mailbox_app.delivery.tls_reporting import TlsReporter, published_addresses
from mailbox_app.events.bus import LocalBus
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailqueue.model import Envelope, QueueFilter
from mailbox_app.net import https
from mailbox_app.outbound.tls.tally import TlsTally
from mailbox_app.outbound.tls.witness import PolicyType, TlsResult, TlsSession
from mailbox_app.policy.state.sent_reports import DAY_SECONDS
from mailbox_app.policy.state.tls_rows import SqliteTlsRows
from mailbox_app.proto.report_container import unpack
from mailbox_app.proto.tls_report import TlsReport, read_report
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from tests.delivery.test_dmarc_reporting import World

STS = ("version: STSv1", "mode: enforce", "mx: *.far.example")


class TlsWorld(World):
    """The DMARC world with sessions in place of messages."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder, settings)
        self.tls_rows = SqliteTlsRows(folder / "reports.db", self.clock)
        self.tally = TlsTally(self.tls_rows)  # type: ignore[assignment]
        self.resolver.zone["_smtp._tls.far.example", "TXT"] = ["v=TLSRPTv1; rua=mailto:tls@far.example"]
        self.tls = TlsReporter(self.tls_rows, self.report_tools)

    def saw(self, result: TlsResult = TlsResult.SUCCESS, reason: str = "", host: str = "mx.far.example") -> None:
        session = TlsSession("far.example", PolicyType.STS, STS, host, "198.51.100.7", result, reason)
        self.tally.saw(session)  # type: ignore[attr-defined]

    async def send_tls(self) -> int:
        self.tls_rows.sync()
        return await self.settle(self.tls.send_due())

    def queued(self) -> list[tuple[Envelope, str, bytes]]:
        found = []
        for queue_id, address, _ in self.queue.matching(QueueFilter(), 100):
            (lease,) = self.queue.take(QueueFilter(ids=(queue_id,)), self.clock.now(), 60)
            found.append((lease.message.envelope, address, Path(lease.spool_path).read_bytes()))
            self.queue.release(lease)
        return found

    def close(self) -> None:
        self.tls_rows.close()
        super().close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TlsWorld]:
    made = TlsWorld(tmp_path)
    yield made
    made.close()


def report_in(content: bytes) -> tuple[Message, TlsReport]:
    message = message_from_bytes(content)
    (part,) = [part for part in message.walk() if part.get_content_type() == "application/tlsrpt+gzip"]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return message, read_report(unpack(payload))


async def test_a_day_is_reported_to_the_address_of_the_record(world: TlsWorld) -> None:
    for _ in range(3):
        world.saw()
    world.saw(TlsResult.EXPIRED, "the certificate ran out")
    world.saw(TlsResult.EXPIRED, "the certificate ran out")
    assert await world.send_tls() == 0  # the day is not over
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 1
    ((envelope, address, content),) = world.queued()
    assert (address, envelope.tls_optional) == ("tls@far.example", True)
    message, report = report_in(content)
    assert message.get_content_type() == "multipart/report"
    assert (message.get_param("report-type"), message["TLS-Report-Domain"]) == ("tlsrpt", "far.example")
    assert message["DKIM-Signature"]
    (policy,) = report.policies
    assert (policy.kind, policy.mx_hosts, policy.succeeded, policy.failed) == ("sts", ["*.far.example"], 3, 2)
    (detail,) = policy.details
    assert (detail.result, detail.count, detail.mx_host) == ("certificate-expired", 2, "mx.far.example")
    assert await world.send_tls() == 0


async def test_every_address_of_the_record_gets_the_same_report_as_the_standard_has_it(world: TlsWorld) -> None:
    """RFC 8460 3 (several rua), 4.4 (the JSON), 5.1 (the file's name), 5.3 (the message)."""
    world.resolver.zone["_smtp._tls.far.example", "TXT"] = [
        "v=TLSRPTv1; rua=mailto:tls@far.example,mailto:reports@third.example;"
    ]
    world.saw()
    world.saw(TlsResult.HOST_MISMATCH, "another name")
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 2
    queued = world.queued()
    assert {address for _, address, _ in queued} == {"tls@far.example", "reports@third.example"}
    jsons = set()
    for _, address, content in queued:
        message = message_from_bytes(content, policy=email.policy.default)
        _, part = message.iter_parts()  # type: ignore[attr-defined]
        packed = part.get_payload(decode=True)
        jsons.add(gzip.decompress(packed))
        report = json.loads(gzip.decompress(packed))
        begin, end = (
            int(datetime.fromisoformat(report["date-range"][name]).timestamp())
            for name in ("start-datetime", "end-datetime")
        )
        assert end - begin == DAY_SECONDS - 1
        submitter, identity = report["organization-name"], report["report-id"]
        assert part.get_filename() == f"{submitter}!far.example!{begin}!{end}!{identity}.json.gz"
        assert message["To"] == address
        subject = " ".join(str(message["Subject"]).split())
        assert subject == f"Report Domain: far.example Submitter: {submitter} Report-ID: <{identity}>"
        assert message["TLS-Report-Submitter"] == submitter
        assert "@" in report["contact-info"]
        (policy,) = report["policies"]
        assert policy["policy"] == {
            "policy-type": "sts", "policy-domain": "far.example", "policy-string": list(STS), "mx-host": ["*.far.example"],
        }  # fmt: skip
        assert policy["summary"] == {"total-successful-session-count": 1, "total-failure-session-count": 1}
        (detail,) = policy["failure-details"]
        assert (detail["result-type"], detail["failed-session-count"]) == ("certificate-host-mismatch", 1)
        assert (detail["receiving-mx-hostname"], detail["receiving-ip"]) == ("mx.far.example", "198.51.100.7")
    assert len(jsons) == 1


async def test_without_a_record_nothing_is_sent_and_the_day_is_forgotten(world: TlsWorld) -> None:
    del world.resolver.zone["_smtp._tls.far.example", "TXT"]
    world.saw()
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 0
    assert world.tls_rows.waiting(99_999, 10) == []


async def test_silent_dns_puts_it_off_for_three_days_at_most(world: TlsWorld) -> None:
    world.resolver.broken.add(("_smtp._tls.far.example", "TXT"))
    world.saw()
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 0
    assert len(world.tls_rows.waiting(99_999, 10)) == 1
    world.resolver.broken.clear()
    assert await world.send_tls() == 1


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    world = TlsWorld(tmp_path, "[reports]\ntls = false\n")
    world.saw()
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 0
    world.close()


async def test_a_report_is_posted_where_the_record_says_https(world: TlsWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[tuple[str, str, bytes, str, Any]] = []

    async def post(host: str, path: str, body: bytes, kind: str, **rest: Any) -> https.Response:
        posted.append((host, path, body, kind, rest["addresses"]))
        return https.Response(201, "", b"")

    monkeypatch.setattr(https, "post", post)
    world.resolver.zone["_smtp._tls.far.example", "TXT"] = ["v=TLSRPTv1; rua=https://tls.far.example/r?a=1"]
    world.resolver.zone["tls.far.example", "A"] = ["10.0.0.1", "8.8.4.4"]
    world.saw()
    world.clock.skip(DAY_SECONDS)
    assert await world.send_tls() == 0
    ((host, path, body, kind, addresses),) = posted
    assert (host, path, kind, addresses) == ("tls.far.example", "/r?a=1", "application/tlsrpt+gzip", ["8.8.4.4"])
    assert read_report(unpack(body)).policies[0].succeeded == 1
    (sent,) = world.tls_rows.sent("", 0, 10)
    assert (sent.kind, sent.outcome) == ("tls", "posted")


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (["v=TLSRPTv1; rua=mailto:a@b.example,https://c.example/x"], ["mailto:a@b.example", "https://c.example/x"]),
        (["v=TLSRPTv1;rua=mailto:a@b.example"], ["mailto:a@b.example"]),
        (["v=spf1 -all"], []),
        (["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@b.example"], []),
        (["v=TLSRPTv1;"], []),
        ([], []),
    ],
)
def test_the_addresses_of_a_record(records: list[str], found: list[str]) -> None:  # RFC 8460 3
    assert list(published_addresses(records)) == found


async def test_a_report_that_arrives_is_kept_and_can_be_looked_at(world: TlsWorld, tmp_path: Path) -> None:
    world.saw(TlsResult.NOT_TRUSTED, "self-signed")
    world.clock.skip(DAY_SECONDS)
    await world.send_tls()
    ((_, _, content),) = world.queued()
    ref = world.directory.add_account("postmaster@example.org", "x").ref
    world.directory.add_domain("far.example")
    store = MaildirStore(tmp_path, LocalBus(), hostname="mail.example.org", clock=world.clock)
    store.account(ref).append([NewMessage(store.stage(ref, Content(b"", content, len(content))), "INBOX")])
    received = ReceivedReports(tmp_path / "reports.db")
    reader = ReportReader(store, received, world.directory, world.clock, world.tools.metrics, lambda: world.config)
    assert reader.catch_up(ref) == 1
    ((row,), total) = received.reports("", 0, 10)
    assert (row.kind, row.domain, row.messages, row.passed, total) == ("tls", "far.example", 1, 0, 1)
    found = received.tls(row.report_no)
    assert found is not None
    assert found[1].policies[0].details[0].result == "certificate-not-trusted"
    received.close()
    store.close()
