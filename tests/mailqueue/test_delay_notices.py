"""Delay notices: once, after four hours, to who wants them; whatever the reason of the delay is."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from mailbox_app.db.offload import Offload
from mailbox_app.errors import QueueError
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.delay_notices import DELAY_SECONDS, DelayNotices
from mailbox_app.mailqueue.model import Envelope, Fate, Lease, NewRecipient, QueueFilter, Settlement
from mailbox_app.mailqueue.schedule import LIFETIME
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.queue import RecordingBus, outcome, put

ALICE, BOB = "alice@here.example", "bob@there.example"


@dataclass
class Desk:
    queue: SqliteQueue
    spool: Spool
    clock: FakeClock
    bounces: Bounces
    notices: DelayNotices
    events: list[MailEvent]

    def put(self, *recipients: NewRecipient | str, **rest: object) -> str:
        return put(self.queue, self.spool, self.clock.now(), recipients or (BOB,), **rest)  # type: ignore[arg-type]

    def fail_for_now(self, minutes: float = 600.0) -> None:
        """Every due recipient is tried once and deferred."""
        now = self.clock.now()
        for lease in self.queue.claim(now, limit=10, lease_seconds=60):
            outcomes = [
                outcome(one.address, Fate.DEFERRED, 451, "4.7.1 greylisted") for one in lease.message.recipients
            ]
            self.queue.settle([Settlement(lease, outcomes, now + timedelta(minutes=minutes))], now)

    async def later(self, seconds: float = DELAY_SECONDS) -> list[EmailMessage]:
        """The notices that are sent when so much time has passed."""
        self.clock.skip(seconds)
        await self.notices.tell_due()
        found = []
        for lease in self.queue.take(QueueFilter(sender="<>"), self.clock.now(), 60):
            found.append(read(Path(lease.spool_path)))
            done = [outcome(one.address, Fate.DELIVERED) for one in lease.message.recipients]
            self.queue.settle([Settlement(lease, done, self.clock.now())], self.clock.now())
        return found


def read(path: Path) -> EmailMessage:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    spool, clock, events = Spool(tmp_path / "queue"), FakeClock(), list[MailEvent]()
    queue = SqliteQueue(tmp_path / "queue.db", spool, RecordingBus(), clock)
    bounces = Bounces(queue, spool, lambda domain: domain == "here.example", "mx.here.example", clock)
    notices = DelayNotices(queue, bounces, Offload(1), clock, MailLog([events.append]), Metrics())
    return Desk(queue, spool, clock, bounces, notices, events)


async def test_one_notice_after_four_hours_and_no_second(desk: Desk) -> None:
    queue_id = desk.put()
    desk.fail_for_now()
    before = desk.queue.message(queue_id)  # type: ignore[arg-type]
    assert await desk.later(DELAY_SECONDS - 1) == []
    [notice] = await desk.later(1)
    status = str(notice.get_payload(1))
    assert "Action: delayed" in status
    assert "Status: 4.0.0" in status
    assert "Diagnostic-Code: smtp; 451 4.7.1 greylisted" in status
    assert f"Final-Log-ID: {queue_id}" in status
    assert "Will-Retry-Until: Mon, 12 Jan 2026 10:00:00 +0000" in status
    assert notice["Subject"] == "Your message is delayed"
    assert notice["To"] == ALICE
    [event] = desk.events
    assert (event.verb, event.text) == ("queued", f"delay notice about {queue_id}")
    assert await desk.later(86_400) == []
    [row] = desk.queue.message(queue_id).recipients  # type: ignore[arg-type]
    assert row.delay_told
    assert (row.state, row.attempts, row.next_at) == (
        before.recipients[0].state, before.recipients[0].attempts, before.recipients[0].next_at
    )  # fmt: skip


async def test_what_was_never_tried_is_late_as_well(desk: Desk) -> None:
    desk.put()
    for lease in desk.queue.claim(desk.clock.now(), limit=1, lease_seconds=60):
        closed = outcome(BOB, Fate.POSTPONED, 451, "the circuit to mx.there.example is open")
        desk.queue.settle([Settlement(lease, [closed], desk.clock.now() + timedelta(hours=9))], desk.clock.now())
    [notice] = await desk.later()
    assert "the circuit to mx.there.example is open" in " ".join(str(notice).split())


@pytest.mark.parametrize(
    ("notify", "count"), [("", 1), ("DELAY", 1), ("SUCCESS,DELAY", 1), ("NEVER", 0), ("FAILURE", 0)]
)
async def test_who_wants_one_gets_one(desk: Desk, notify: str, count: int) -> None:
    desk.put(NewRecipient(BOB, notify=notify))
    assert len(await desk.later()) == count
    assert not desk.queue.matching(QueueFilter(late_seconds=DELAY_SECONDS), 1)  # nobody is looked at twice


async def test_the_null_sender_gets_none(desk: Desk) -> None:
    desk.put(sender="")
    assert await desk.notices.tell_due() == 0
    desk.clock.skip(DELAY_SECONDS)
    assert await desk.notices.tell_due() == 0


async def test_all_recipients_of_a_message_are_told_in_one(desk: Desk) -> None:
    desk.put(BOB, "carol@other.example", NewRecipient("dan@third.example", notify="NEVER"))
    [notice] = await desk.later()
    assert str(notice.get_payload(1)).count("Final-Recipient") == 2
    assert "dan@third.example" not in str(notice.get_payload(1))


async def test_mail_for_later_is_not_late_before_its_time(desk: Desk) -> None:
    desk.put(due_at=desk.clock.now() + timedelta(days=2))
    assert await desk.later() == []
    assert await desk.later(2 * 86_400 - 1) == []
    assert len(await desk.later(DELAY_SECONDS)) == 1


async def test_what_an_operator_holds_is_not_late(desk: Desk) -> None:
    desk.put()
    desk.queue.hold(QueueFilter(), "asked by legal")
    assert await desk.later() == []


async def test_ret_full_brings_the_header_only(desk: Desk) -> None:
    """RFC 3461 4.3: without a failure nothing is returned whole."""
    desk.put(envelope=Envelope(ALICE, ret="FULL"))
    [notice] = await desk.later()
    assert [part.get_content_type() for part in notice.iter_parts()][-1] == "text/rfc822-headers"


async def test_a_notice_that_could_not_be_queued_comes_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put()
    desk.put("carol@other.example")

    def full(leases: list[Lease]) -> None:
        raise QueueError("queue.full", "no room", temporary=True)

    with monkeypatch.context() as patch:
        patch.setattr(desk.bounces, "report_delay", full)
        desk.clock.skip(DELAY_SECONDS)
        with pytest.raises(QueueError):
            await desk.notices.tell_due()
    leases = desk.queue.claim(desk.clock.now(), limit=9, lease_seconds=60)
    assert len(leases) == 2  # all was given back
    for lease in leases:
        desk.queue.release(lease)
    assert len(await desk.later(60)) == 2


async def test_it_looks_every_minute_and_survives_trouble(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put()
    desk.clock.skip(DELAY_SECONDS)
    looks = 0

    def broken(where: QueueFilter, limit: int) -> list[object]:
        nonlocal looks
        looks += 1
        raise ValueError("a bug")

    monkeypatch.setattr(desk.queue, "matching", broken)
    running = asyncio.get_running_loop().create_task(desk.notices.run())
    while looks < 2:
        await asyncio.sleep(0.001)
        if desk.clock.next_wake_seconds():
            await desk.clock.advance(60)
    running.cancel()
    assert LIFETIME.days == 7
