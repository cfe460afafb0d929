"""Counting, sending, and reading what was sent: a virtual week between two servers' worlds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from mailbox_app.accounts import dkim_keys
from mailbox_app.delivery.daily_reports import ReportTools
from mailbox_app.delivery.dmarc_reporting import DmarcReporter
from mailbox_app.delivery.dmarc_tally import DmarcTally, Sinks
from mailbox_app.delivery.explaining import Decided
from mailbox_app.delivery.report_reading import ReportReader
from mailbox_app.events.bus import LocalBus
from mailbox_app.journal.received_reports import ReceivedReports
from mailbox_app.mailauth.checks import SenderChecks
from mailbox_app.mailauth.results import (
    AuthResults,
    DkimResult,
    DmarcRecord,
    DmarcResult,
    Override,
    OverrideKind,
    Result,
    SpfResult,
)
from mailbox_app.mailqueue.model import QueueFilter
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.policy.state.dmarc_rows import SqliteDmarcRows
from mailbox_app.policy.state.sent_reports import DAY_SECONDS
from mailbox_app.policy.verdict import Finding, Judgement, Verdict
from mailbox_app.proto.dmarc_report import DmarcReport, Reason, Row
from mailbox_app.proto.dmarc_report_reader import read_report
from mailbox_app.proto.header import Header, header_end
from mailbox_app.proto.report_container import unpack
from mailbox_app.proto.smtp.replies import Reply
from mailbox_app.runtime.reporting import Reporting, minute_of
from mailbox_app.store.interface import Content, NewMessage
from mailbox_app.store.maildir.backend import MaildirStore
from tests.support.policy import Bench, account, facts_of
from tests.support.queue import RecordingBus

RECORD = DmarcRecord("a.example", "reject", aggregate_reports=("mailto:dmarc@a.example",))
OK, NO, LATER = Reply(250, "2.0.0", "ok"), Reply(550, "5.7.1", "no"), Reply(451, "4.7.1", "later")
REFUSED = Judgement([Finding("sender_authentication", "asks", verdict=Verdict.REJECT)])
JUNK = Judgement([Finding("sender_authentication", "asks", verdict=Verdict.JUNK)])
SPAM = Judgement([Finding("bayes", "looks bad", score=9.0)])
RAW = b"From: a@a.example\nSubject: hello\n\nhi\n"


def auth(dmarc: DmarcResult, record: DmarcRecord | None = RECORD) -> AuthResults:
    spf = SpfResult(Result.PASS if dmarc.spf_aligned else Result.SOFTFAIL, "a.example")
    dkim = [DkimResult(Result.PASS if dmarc.dkim_aligned else Result.FAIL, "a.example", "s1")]
    return AuthResults(b"", "", spf, dkim, replace(dmarc, record=record))


PASSED = DmarcResult(Result.PASS, "a.example", "reject", "a.example", spf_aligned=True, dkim_aligned=True)
FAILED = DmarcResult(Result.FAIL, "a.example", "reject", "a.example", disposition="reject", organization="a.example")


class World(Bench):
    """Tools, a queue, and the two ends of counting."""

    def __init__(self, folder: Path, settings: str = "", **zone: str) -> None:
        super().__init__(folder, settings)
        self.spool = Spool(folder / "queue")
        self.queue = SqliteQueue(folder / "queue.db", self.spool, RecordingBus(), self.clock)
        self.rows: SqliteDmarcRows = self.files.state.dmarc_rows
        self.tally = DmarcTally(self.rows, self.directory, lambda: self.config, self.tools.metrics)
        self.directory.add_domain("example.org")
        self.key = dkim_keys.generate("example.org", "s1", "ed25519", datetime(2026, 1, 1, tzinfo=UTC))
        self.directory.add_dkim_key(self.key)
        self.report_tools = ReportTools(
            self.queue, self.spool, self.directory, self.resolver, self.offload, self.clock, self.tools.metrics,
            lambda: self.config,
        )  # fmt: skip
        self.reporter = DmarcReporter(self.rows, self.report_tools, version="1.2")

    @property
    def today(self) -> int:
        return int(self.clock.epoch_seconds() // DAY_SECONDS)

    def count(
        self,
        dmarc: DmarcResult = PASSED,
        judgement: Judgement | None = None,
        reply: Reply = OK,
        record: DmarcRecord | None = RECORD,
        raw: bytes = RAW,
        recipient: str = "user1@example.org",
    ) -> None:
        facts = facts_of(raw, auth=auth(dmarc, record), accounts=[account(1, recipient)])
        facts.sender = "bounce@a.example"
        self.tally.note(Decided(facts, judgement or Judgement(), reply))

    def counted(self, domain: str = "a.example") -> list[Row]:
        self.rows.sync()
        found = self.rows.gathered(self.today, domain)
        return [] if found is None else list(found.rows)

    async def settle(self, work: Awaitable[int]) -> int:
        """Let time pass until it is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            await self.clock.advance(1)
            await asyncio.sleep(0.001)
        return await task

    async def send(self) -> int:
        self.rows.sync()
        return await self.settle(self.reporter.send_due())

    def mails(self) -> list[tuple[str, bytes]]:
        """(recipient, message) of all that is queued."""
        found = []
        for queue_id, address, _ in self.queue.matching(QueueFilter(), 1000):
            assert self.queue.message(queue_id).envelope.sender == "noreply-dmarc@example.org"
            (lease,) = self.queue.take(QueueFilter(ids=(queue_id,)), self.clock.now(), 60)
            found.append((address, Path(lease.spool_path).read_bytes()))
            self.queue.release(lease)
        return found

    def close(self) -> None:
        self.queue.close()
        super().close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@asynccontextmanager
async def configured(folder: Path, settings: str) -> AsyncIterator[World]:
    made = World(folder, settings)
    try:
        yield made
    finally:
        made.close()


def report_in(content: bytes) -> tuple[Message, DmarcReport]:
    message = message_from_bytes(content)
    (part,) = [part for part in message.walk() if part.get_content_type() == "application/gzip"]
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return message, read_report(unpack(payload))


# counting


@pytest.mark.parametrize(
    ("dmarc", "judgement", "reply", "disposition", "reasons"),
    [
        (PASSED, Judgement(), OK, "pass", ()),
        (PASSED, SPAM, NO, "pass", ()),
        (replace(PASSED, policy="none"), Judgement(), OK, "none", ()),
        (FAILED, REFUSED, NO, "reject", ()),
        (FAILED, JUNK, OK, "quarantine", (Reason("local_policy"),)),
        (replace(FAILED, mailing_list=True), JUNK, OK, "quarantine", (Reason("mailing_list"),)),
        (FAILED, SPAM, NO, "none", (Reason("local_policy"),)),
        (replace(FAILED, policy="none", disposition="none"), SPAM, NO, "none", ()),
        (
            replace(FAILED, disposition="none", overrides=(Override(OverrideKind.TRUSTED_FORWARDER, "arc=pass"),)),
            Judgement(),
            OK,
            "none",
            (Reason("trusted_forwarder", "arc=pass"),),
        ),
        (
            replace(FAILED, result=Result.TEMPERROR),
            Judgement(),
            OK,
            "none",
            (Reason("other", "DNS did not answer in time"),),
        ),
    ],
)
async def test_the_disposition_is_what_dmarc_did(
    world: World, dmarc: DmarcResult, judgement: Judgement, reply: Reply, disposition: str, reasons: tuple[Reason, ...]
) -> None:
    world.count(dmarc, judgement, reply)
    (row,) = world.counted()
    assert (row.source_ip, row.count, row.disposition) == ("192.0.2.7", 1, disposition)
    assert tuple(row.reasons) == reasons
    assert (row.header_from, row.envelope_from) == ("a.example", "a.example")
    assert row.passed == (dmarc.result is Result.PASS)


async def test_a_source_is_told_in_its_plain_form(world: World) -> None:
    for remote_ip in ("::ffff:192.0.2.7", "2001:DB8:0::1"):
        facts = facts_of(RAW, auth=auth(PASSED), remote_ip=remote_ip)
        world.tally.note(Decided(facts, Judgement(), OK))
    assert {row.source_ip for row in world.counted()} == {"192.0.2.7", "2001:db8::1"}


async def test_what_is_put_off_or_unasked_for_is_not_counted(world: World) -> None:
    world.count(reply=LATER)
    world.count(record=None)
    world.count(record=replace(RECORD, aggregate_reports=()))
    world.config = world.settings('[reports]\nskip = ["A.example"]\n')
    world.count()
    world.count(record=replace(RECORD, domain="mail.a.example"))
    world.config = world.settings("[reports]\ndmarc = false\n")
    world.count()
    assert world.counted() == []
    assert world.counted("mail.a.example") == []


async def test_one_message_counts_once_and_other_sinks_hear_of_it_too(world: World) -> None:
    heard: list[Decided] = []

    class Listener:
        def note(self, decided: Decided) -> None:
            heard.append(decided)

    class Broken:
        def note(self, decided: Decided) -> None:
            raise ValueError("no")

    decided = Decided(facts_of(RAW, auth=auth(PASSED)), Judgement(), OK)
    sinks = Sinks(Broken(), world.tally, Listener())
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            sinks.note(decided)
    assert len(heard) == 2
    assert [row.count for row in world.counted()] == [1]


async def test_mail_that_brings_reports_is_not_reported(world: World) -> None:
    about = b"From: a@a.example\nSubject: Report Domain: example.org Submitter: x Report-ID: <1>\n\n"
    tls = b'From: a@a.example\nContent-Type: multipart/report; report-type="tlsrpt"\n\n'
    world.count(raw=about, recipient="postmaster@example.org")
    world.count(raw=tls, recipient="postmaster@example.org")
    assert world.counted() == []
    world.count(raw=about)
    world.count(FAILED, REFUSED, NO, raw=about, recipient="postmaster@example.org")
    assert world.counted() == []
    world.count(FAILED, REFUSED, NO, raw=about)
    world.count(recipient="postmaster@example.org")
    assert [row.count for row in world.counted()] == [1, 1]


# sending


async def test_a_report_leaves_when_its_day_is_over_and_proves_who_sent_it(world: World) -> None:
    for _ in range(3):
        world.count()
    world.count(FAILED, REFUSED, NO)
    assert await world.send() == 0
    day = world.today
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 1
    ((address, content),) = world.mails()
    assert address == "dmarc@a.example"
    message, report = report_in(content)
    begin, end = day * DAY_SECONDS, day * DAY_SECONDS + 86_399
    subject = " ".join(message["subject"].split())
    assert subject == f"Report Domain: a.example Submitter: mail.example.org Report-ID: <{report.report_id}>"
    (part,) = [part for part in message.walk() if part.get_filename()]
    assert part.get_filename() == f"mail.example.org!a.example!{begin}!{end}!{report.report_id}.xml.gz"
    assert (report.begin_seconds, report.end_seconds, report.is_newer) == (begin, end, True)
    assert report.published.policy == "reject"
    assert {(row.count, row.disposition) for row in report.rows} == {(3, "pass"), (1, "reject")}
    assert all(len(line) < 200 for line in content.splitlines() if not line.startswith(b"DKIM"))
    assert await world.send() == 0
    # the receiver's view
    zone = world.resolver.zone
    zone["_dmarc.example.org", "TXT"] = ["v=DMARC1; p=reject"]
    zone["s1._domainkey.example.org", "TXT"] = [world.key.public_txt]
    checks = SenderChecks(world.resolver, world.offload, "mx.a.example", check_private_clients=True)
    end_of_header = header_end(content)
    result = await checks.check(
        remote_ip="192.0.2.200",
        helo="mail.example.org",
        sender="noreply-dmarc@example.org",
        header=Header.parse(content[:end_of_header]),
        body=content[end_of_header:],
        timeout_seconds=5,
    )
    assert (result.dmarc.result, result.dmarc.dkim_aligned) == (Result.PASS, True)


async def test_each_address_gets_it_if_it_wants_it_and_it_fits(world: World) -> None:
    uris = [
        "mailto:dmarc@a.example",
        "mailto:in@reports.example!10m",
        "mailto:small@mail.a.example!1k",
        "mailto:victim@victim.example",
        "https://a.example/",
    ]
    world.resolver.zone["a.example._report._dmarc.reports.example", "TXT"] = ["v=DMARC1;"]
    world.count(record=replace(RECORD, aggregate_reports=tuple(uris)))
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 2
    assert sorted(address for address, _ in world.mails()) == ["dmarc@a.example", "in@reports.example"]
    outcomes = {each.address: each.outcome for each in world.rows.sent("", 0, 10)}
    assert outcomes["small@mail.a.example"].startswith("larger than it takes")
    assert outcomes["victim@victim.example"] == "victim.example does not say that it wants it"


async def test_a_silent_dns_costs_nobody_else_the_report_and_no_one_gets_two(world: World) -> None:
    name = "a.example._report._dmarc.reports.example"
    world.count(record=replace(RECORD, aggregate_reports=("mailto:x@reports.example", "mailto:dmarc@a.example")))
    world.count(record=replace(RECORD, domain="b.example", aggregate_reports=("mailto:dmarc@b.example",)))
    world.clock.skip(DAY_SECONDS)
    world.resolver.broken.add((name, "TXT"))
    assert await world.send() == 2
    assert await world.send() == 0
    world.resolver.broken.clear()
    world.resolver.zone[name, "TXT"] = ["v=DMARC1"]
    assert await world.send() == 1
    assert sorted(address for address, _ in world.mails()) == [
        "dmarc@a.example",
        "dmarc@b.example",
        "x@reports.example",
    ]
    assert world.rows.waiting(world.today, 10) == []


async def test_only_so_many_leave_in_a_day_and_what_is_too_old_is_dropped(tmp_path: Path) -> None:
    async with configured(tmp_path, "[reports]\nmax_per_day = 2\n") as world:
        for number in range(5):
            world.count(
                record=replace(RECORD, domain=f"d{number}.example", aggregate_reports=(f"mailto:x@d{number}.example",))
            )
        world.clock.skip(DAY_SECONDS)
        assert await world.send() == 2
        assert await world.send() == 0
        world.clock.skip(DAY_SECONDS)
        assert await world.send() == 2
        world.clock.skip(3 * DAY_SECONDS)
        assert await world.send() == 0
        assert world.rows.waiting(world.today, 10) == []


async def test_a_record_with_pct_is_reported_in_the_older_form(world: World) -> None:
    override = Override(OverrideKind.SAMPLED_OUT, "pct=30")
    world.count(
        replace(FAILED, disposition="quarantine", overrides=(override,)), JUNK, record=replace(RECORD, percent=30)
    )
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 1
    _, report = report_in(world.mails()[0][1])
    assert not report.is_newer
    assert report.published.percent == 30
    assert report.rows[0].reasons == (Reason("sampled_out", "pct=30"),)


async def test_without_a_domain_of_ours_nothing_is_sent_and_nothing_piles_up(world: World) -> None:
    world.directory.retire_dkim_key("example.org", "s1")
    world.directory.remove_domain("example.org")
    world.count()
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 0
    assert world.rows.waiting(world.today, 10) == []


async def test_reports_about_our_own_domains_stay_here(world: World) -> None:
    own = replace(RECORD, domain="example.org", aggregate_reports=("mailto:postmaster@example.org",))
    world.count(record=own)
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 1
    ((queue_id, _, _),) = world.queue.matching(QueueFilter(), 10)
    (recipient,) = world.queue.message(queue_id).recipients
    assert (recipient.transport, recipient.notify) == ("local", "NEVER")


async def test_what_we_say_about_ourselves_is_read_back_whole(world: World, tmp_path: Path) -> None:
    postmaster = world.directory.add_account("postmaster@example.org", "x").ref
    own = replace(RECORD, domain="example.org", aggregate_reports=("mailto:postmaster@example.org",))
    for _ in range(3):
        world.count(FAILED, REFUSED, NO, record=own)
    world.count(record=own)
    world.clock.skip(DAY_SECONDS)
    assert await world.send() == 1
    ((_, content),) = world.mails()
    store = MaildirStore(tmp_path, LocalBus(), hostname="mail.example.org", clock=world.clock)
    received = ReceivedReports(tmp_path / "reports.db")
    reader = ReportReader(store, received, world.directory, world.clock, world.tools.metrics, lambda: world.config)
    for prefix in (b"Received: from x by y\r\n", b""):
        staged = store.stage(postmaster, Content(prefix, content, len(prefix) + len(content)))
        store.account(postmaster).append([NewMessage(staged, "INBOX")])
    assert reader.catch_up(postmaster) == 2  # the doubtful one is replaced
    (kept,), total = received.reports("", 0, 10)
    assert (kept.messages, kept.passed, kept.proven, total) == (4, 1, True, 1)
    found = received.dmarc(kept.report_no, 10)
    assert found is not None
    assert {(row.count, row.disposition) for row in found[1].rows} == {(3, "reject"), (1, "pass")}
    received.close()
    store.close()


async def test_a_virtual_week_brings_each_domain_one_report_a_day_in_spite_of_restarts(world: World) -> None:
    bus = _Watching()
    sent: list[int] = []

    async def send_due() -> int:
        world.rows.sync()
        sent.append(await world.reporter.send_due())
        return sent[-1]

    def start() -> asyncio.Task[None]:
        job = Reporting(
            [send_due],
            list,
            lambda ref: 0,
            lambda: 0,
            "mail.example.org",
            bus,  # type: ignore[arg-type]
            world.offload,
            world.clock,
            world.tools.metrics,
        )
        return asyncio.ensure_future(job.run())

    async def stop(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = start()
    for hour in range(7 * 24):
        world.count()
        world.count(record=replace(RECORD, domain="b.example", aggregate_reports=("mailto:dmarc@b.example",)))
        for _ in range(12):
            await world.clock.advance(300)
            await asyncio.sleep(0.002)
        if hour % 31 == 30:
            await stop(task)
            task = start()
    await stop(task)
    reports = [report_in(content)[1] for _, content in world.mails()]
    days = sorted((each.begin_seconds // DAY_SECONDS, each.published.domain) for each in reports)
    first = world.today - 7
    assert days == [(first + day, name) for day in range(7) for name in ("a.example", "b.example")]
    messages = [sum(row.count for row in each.rows) for each in reports if each.published.domain == "a.example"]
    assert sorted(messages) == [14, *([24] * 6)]
    assert 600 <= minute_of("mail.example.org") < 600 + 10_800


class _Watching(RecordingBus):
    """A bus nobody says anything on."""

    def watch(self, callback: Callable[[str | None], None]) -> _Nothing:
        del callback
        return _Nothing()


class _Nothing:
    def close(self) -> None:
        """There is nothing to close."""
