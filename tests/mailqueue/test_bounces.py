from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import Envelope, Fate, Lease, NewRecipient, Outcome
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from tests.support.clock import FakeClock
from tests.support.queue import MESSAGE, RecordingBus, outcome, put


@dataclass
class Desk:
    queue: SqliteQueue
    spool: Spool
    bounces: Bounces
    clock: FakeClock

    def lease(self, *recipients: NewRecipient | str, **rest: object) -> Lease:
        put(self.queue, self.spool, self.clock.now(), recipients or ("bob@there.example",), **rest)  # type: ignore[arg-type]
        [lease] = self.queue.claim(self.clock.now(), limit=1, lease_seconds=600)
        return lease

    def report(self, lease: Lease, *outcomes: Outcome) -> tuple[Lease, str] | None:
        """The report as a runner gets it, and its text."""
        if self.bounces.report(lease, outcomes) is None:
            return None
        [made] = self.queue.claim(self.clock.now(), limit=1, lease_seconds=600)
        return made, Path(made.spool_path).read_bytes().decode()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    spool, clock = Spool(tmp_path / "queue"), FakeClock()
    queue = SqliteQueue(tmp_path / "queue.db", spool, RecordingBus(), clock)
    return Desk(
        queue, spool, Bounces(queue, spool, lambda domain: domain == "here.example", "mx.here.example", clock), clock
    )


FAILED = outcome("bob@there.example", Fate.FAILED, 550, "5.1.1 no such user")


def test_a_failure_is_reported_to_the_sender_from_the_null_sender(desk: Desk) -> None:
    lease = desk.lease()
    made = desk.report(lease, FAILED)
    assert made is not None
    report, text = made
    assert report.message.envelope.sender == ""
    [recipient] = report.message.recipients
    assert (recipient.address, recipient.transport, recipient.notify) == ("alice@here.example", "local", "NEVER")
    assert "Content-Type: multipart/report" in text
    assert "Final-Recipient: rfc822; bob@there.example" in text
    assert "Action: failed" in text
    assert "5.1.1 no such user" in text
    assert "Remote-MTA: dns; mx.there.example" in text
    assert "Subject: hi" in text
    assert ".dot" not in text  # the header only
    assert report.message.envelope.message_id in text


def test_a_report_repeats_what_the_sender_said_about_a_later_time(desk: Desk) -> None:
    """RFC 4865 5.1.2"""
    lease = desk.lease(envelope=Envelope("alice@here.example", release_request="until;2026-03-01T08:00:00Z"))
    made = desk.report(lease, FAILED)
    assert made is not None
    assert "Future-Release-Request: until;2026-03-01T08:00:00Z\r\n" in made[1]


def test_only_an_attempt_has_a_time(desk: Desk) -> None:
    """RFC 3464 2.3.7"""
    assert desk.bounces.report(desk.lease(), [FAILED], tried=False) is not None
    [made] = desk.queue.claim(desk.clock.now(), limit=1, lease_seconds=600)
    assert b"Last-Attempt-Date" not in Path(made.spool_path).read_bytes()


def test_a_sender_elsewhere_gets_it_by_smtp(desk: Desk) -> None:
    made = desk.report(desk.lease(sender="eve@far.example"), FAILED)
    assert made is not None
    assert made[0].message.recipients[0].transport == "smtp"


def test_several_failures_of_one_attempt_are_one_report(desk: Desk) -> None:
    lease = desk.lease("bob@there.example", "carol@there.example", "dan@there.example")
    made = desk.report(
        lease, FAILED, outcome("carol@there.example", Fate.LOOP), outcome("dan@there.example", Fate.DELIVERED)
    )
    assert made is not None
    assert made[1].count("Final-Recipient:") == 2
    assert "dan@there.example" not in made[1].partition("Subject: hi")[0]


def test_the_null_sender_is_never_told(desk: Desk) -> None:
    assert desk.report(desk.lease(sender=""), FAILED) is None


@pytest.mark.parametrize(
    ("notify", "told"),
    [("", True), ("FAILURE", True), ("SUCCESS,FAILURE", True), ("NEVER", False), ("SUCCESS", False), ("DELAY", False)],
)
def test_notify_is_honoured(desk: Desk, notify: str, told: bool) -> None:
    made = desk.report(desk.lease(NewRecipient("bob@there.example", notify=notify)), FAILED)
    assert (made is not None) is told


def test_only_failures_are_reported(desk: Desk) -> None:
    lease = desk.lease()
    assert desk.report(lease, outcome("bob@there.example", Fate.DEFERRED)) is None
    assert desk.report(lease, outcome("bob@there.example", Fate.DELIVERED)) is None


def test_envelope_id_and_original_recipient_come_back_decoded(desk: Desk) -> None:
    new = NewRecipient("bob@there.example", orcpt="rfc822;Bob+2Bx@there.example")
    made = desk.report(desk.lease(new, envelope=Envelope("alice@here.example", envid="id+3D1")), FAILED)
    assert made is not None
    assert "Original-Envelope-Id: id=1" in made[1]
    assert "Original-Recipient: rfc822; Bob+x@there.example" in made[1]


def test_the_whole_message_is_returned_when_asked_and_not_too_large(desk: Desk) -> None:
    envelope = Envelope("alice@here.example", ret="FULL")
    made = desk.report(desk.lease(envelope=envelope), FAILED)
    assert made is not None
    assert MESSAGE.decode() in made[1]
    secret = desk.report(desk.lease(envelope=replace(envelope, require_tls=True)), FAILED)
    assert secret is not None
    assert MESSAGE.decode() not in secret[1], "what must stay encrypted goes back as header only"
    large = desk.report(desk.lease(envelope=envelope, content=MESSAGE + b"x\r\n" * 400_000), FAILED)
    assert large is not None
    assert len(large[1]) < 10_000


def test_a_lost_spool_file_still_gives_a_report(desk: Desk) -> None:
    lease = desk.lease(envelope=Envelope("alice@here.example", ret="FULL"))
    Path(lease.spool_path).unlink()
    assert desk.report(lease, FAILED) is not None


def test_what_was_passed_on_to_a_host_without_reports_is_told_to_who_asked(desk: Desk) -> None:
    lease = desk.lease(
        NewRecipient("bob@there.example", notify="SUCCESS,FAILURE", orcpt="rfc822;b+2Bx@there.example"),
        NewRecipient("carol@there.example", notify="FAILURE"),
        NewRecipient("dan@there.example"),
    )
    passed = [replace(outcome(one.address, Fate.DELIVERED), relayed=True) for one in lease.message.recipients]
    assert desk.bounces.concern(lease, passed)
    made = desk.report(lease, *passed)
    assert made is not None
    text = made[1]
    assert text.count("Final-Recipient") == 1
    assert "Action: relayed" in text
    assert "Original-Recipient: rfc822; b+x@there.example" in text
    assert f"Final-Log-ID: {lease.message.queue_id}" in text


def test_what_a_host_with_reports_took_is_its_business(desk: Desk) -> None:
    """RFC 3461 5.2.2."""
    lease = desk.lease(NewRecipient("bob@there.example", notify="SUCCESS"))
    done = outcome("bob@there.example", Fate.DELIVERED)
    assert not desk.bounces.concern(lease, [done])
    assert desk.report(lease, done) is None


def test_deferrals_and_usual_deliveries_concern_nobody(desk: Desk) -> None:
    lease = desk.lease()
    for fate in (Fate.DELIVERED, Fate.DEFERRED, Fate.POSTPONED, Fate.QUARANTINED):
        assert not desk.bounces.concern(lease, [replace(outcome("bob@there.example", fate), relayed=True)])


def test_a_report_is_a_part_of_the_conversation(desk: Desk) -> None:
    made = desk.report(desk.lease(envelope=Envelope("alice@here.example", message_id="<1@here.example>")), FAILED)
    assert made is not None
    assert "In-Reply-To: <1@here.example>\r\nReferences: <1@here.example>\r\n" in made[1]
