"""Queue, runner, transport, resolver and a remote server on loopback, joined as the product joins them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.ids import QueueId
from mailbox_app.mailqueue.bounces import Bounces
from mailbox_app.mailqueue.model import RecipientState
from mailbox_app.mailqueue.runner import QueueRunner
from mailbox_app.mailqueue.spool import Spool
from mailbox_app.mailqueue.sqlite.backend import SqliteQueue
from mailbox_app.net.resolver import DnsResolver
from mailbox_app.observe.mail_log import MailEvent, MailLog
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.transport import SmtpTransport
from tests.support.clock import FakeClock
from tests.support.dns import FakeDnsServer
from tests.support.outbound_tls import outbound_tls
from tests.support.queue import MESSAGE, RecordingBus, put
from tests.support.remote import FakeRemote

ZONE = {
    ("there.example", "MX"): ["10 mx.there.example."],
    ("mx.there.example", "A"): ["127.0.0.1"],
    ("far.example", "MX"): ["10 mx.far.example."],
    ("mx.far.example", "A"): ["127.0.0.2"],
    ("nomail.example", "MX"): ["0 ."],
}


class Site:
    """A sending server with two remotes: there.example and far.example, on one port and two addresses."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.clock = FakeClock()
        self.bus = RecordingBus()
        self.spool = Spool(tmp_path / "queue")
        self.queue = SqliteQueue(tmp_path / "queue.db", self.spool, self.bus, self.clock)
        self.offload = Offload(8)
        self.dns = FakeDnsServer(ZONE)
        self.there, self.far = FakeRemote(clock=self.clock), FakeRemote(clock=self.clock)
        self.events: list[MailEvent] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        await self.dns.start()
        await self.there.start()
        await self.far.start(self.there.port, ["127.0.0.2"])

    async def close(self) -> None:
        for task in self.tasks:
            await self.stop(task)
        await self.there.close()
        await self.far.close()
        self.dns.close()
        self.offload.close()
        self.queue.close()

    async def stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def start(self, queue: SqliteQueue | None = None) -> asyncio.Task[None]:
        queue = queue or self.queue
        config = Delivery(port=self.there.port, allow_private_addresses=True)
        resolver = DnsResolver([self.dns.address], 5, self.clock)
        tls = outbound_tls(resolver, self.tmp_path, config, self.offload, self.clock)
        transport = SmtpTransport(
            resolver, hostname="mx.here.example", config=config, offload=self.offload, clock=self.clock, tls=tls
        )
        runner = QueueRunner(
            queue,
            {"smtp": transport},
            Bounces(queue, self.spool, lambda domain: False, "mx.here.example", self.clock),
            offload=self.offload,
            clock=self.clock,
            bus=self.bus,
            mail_log=MailLog([self.events.append]),
            metrics=Metrics(),
            chance=lambda: 0.5,
        )
        self.tasks.append(asyncio.create_task(runner.run()))
        return self.tasks[-1]

    def put(self, *recipients: str, sender: str = "alice@far.example") -> QueueId:
        return put(self.queue, self.spool, self.clock.now(), recipients, sender)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - threads and sockets are at work
                await asyncio.sleep(0.002)

    async def pass_time(self, seconds: float) -> None:
        self.clock.skip(seconds)
        self.bus.publish("queue")
        await asyncio.sleep(0)

    def empty(self) -> bool:
        return self.queue.stats(self.clock.now()).recipients == 0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_recipients_of_one_domain_share_a_transaction_and_domains_do_not(site: Site) -> None:
    site.start()
    site.put("bob@there.example", "carol@there.example", "dan@far.example")
    await site.until(site.empty)
    [message] = site.there.messages
    assert sorted(message.recipients) == ["bob@there.example", "carol@there.example"]
    assert message.content == MESSAGE
    assert site.far.messages[0].recipients == ["dan@far.example"]
    await site.until(lambda: len(site.events) == 3)
    assert list(site.spool.directory.iterdir()) == []
    assert {event.verb for event in site.events} == {"delivered"}
    assert {event.remote for event in site.events} == {"mx.there.example [127.0.0.1]", "mx.far.example [127.0.0.2]"}


async def test_a_greylisting_server_gets_the_message_at_the_second_try(site: Site) -> None:
    site.there.script.greylist = True
    site.start()
    queue_id = site.put("bob@there.example")
    await site.until(lambda: site.events)
    [row] = site.queue.message(queue_id).recipients
    assert (row.last_code, row.last_text) == (451, "4.7.1 greylisted, come back")
    await site.pass_time(301)
    await site.until(site.empty)
    await site.until(lambda: len(site.events) == 2)
    assert [event.verb for event in site.events] == ["attempt", "delivered"]
    assert len(site.there.messages) == 1


async def test_a_refused_recipient_comes_back_to_the_sender_as_a_report(site: Site) -> None:
    site.there.script.rcpt = {"nobody@there.example": b"550 5.1.1 no such user"}
    site.start()
    site.put("nobody@there.example", "bob@there.example", "x@nomail.example")
    await site.until(lambda: len(site.far.messages) == 2 and site.empty())
    assert all(report.sender == "" and report.recipients == ["alice@far.example"] for report in site.far.messages)
    told = b"".join(report.content for report in site.far.messages)
    assert b"nobody@there.example" in told
    assert b"5.1.10" in told
    assert len(site.there.messages) == 1


async def test_an_expired_message_is_reported(site: Site) -> None:
    site.there.script.greeting = b"421 4.3.2 not today"
    site.start()
    site.put("bob@there.example")
    await site.until(lambda: site.events)
    await site.pass_time(8 * 86_400)
    await site.until(lambda: site.far.messages and site.empty())
    [report] = site.far.messages
    assert b"Status: 4.4.7" in report.content
    assert b"not today" in report.content


async def test_a_runner_stopped_in_the_middle_leaves_the_message_to_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailbox_app.mailqueue.runner._DRAIN_SECONDS", 0.05)
    site.there.script.null_at = "DATA"
    task = site.start()
    queue_id = site.put("bob@there.example")
    await site.until(lambda: "DATA" in site.there.commands)
    await site.stop(task)
    assert site.queue.message(queue_id).recipients[0].state is RecipientState.DEFERRED
    site.there.script.null_at = ""
    site.start()
    await site.until(site.empty)
    assert len(site.there.messages) == 1


async def test_two_runners_deliver_each_message_once(site: Site) -> None:  # D7
    site.start()
    site.start(SqliteQueue(site.tmp_path / "queue.db", site.spool, site.bus, site.clock))
    for number in range(30):
        site.put(f"r{number}@there.example")
    await site.until(site.empty)
    assert sorted(message.recipients[0] for message in site.there.messages) == sorted(
        f"r{number}@there.example" for number in range(30)
    )


async def test_a_dead_dns_defers_and_delivers_when_it_is_back(site: Site) -> None:
    site.dns.failing.add("there.example")
    site.start()
    queue_id = site.put("bob@there.example")
    await site.until(lambda: site.events)
    assert "DNS" in site.queue.message(queue_id).recipients[0].last_text
    site.dns.failing.clear()
    await site.pass_time(301)
    await site.until(site.empty)
    assert len(site.there.messages) == 1
