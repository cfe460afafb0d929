"""Breakers as deliveries meet them: what counts, what is passed over, what waits and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.mailqueue.destinations.breaker import Condition
from mailbox_app.mailqueue.destinations.breaker_store import MemoryBreakerStore
from mailbox_app.mailqueue.destinations.breakers import Breakers
from mailbox_app.mailqueue.destinations.pace import Pace
from mailbox_app.mailqueue.destinations.warm_up import WarmUpPlan
from mailbox_app.mailqueue.model import Fate, Lease, Outcome, Priority
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.passages import Passages
from mailbox_app.outbound.transport import SmtpTransport
from tests.support.clock import FakeClock
from tests.support.dns import FakeResolver
from tests.support.outbound_tls import outbound_tls
from tests.support.remote import FakeRemote, Script

MakeLease = Callable[..., Lease]


@dataclass
class Waiting:
    """Remembers what was put off."""

    calls: list[tuple[str, datetime, str]] = field(default_factory=list)

    def postpone(
        self, destination: str, until: datetime, reason: str, *, route: str, gap_seconds: float, most_seconds: float
    ) -> int:
        self.calls.append((destination, until, reason))
        return 1


class NoCounts:
    """Nothing is counted."""

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        return 0

    def sync(self) -> None:
        pass


@dataclass
class World:
    """A transport with a clock that stands still."""

    transport: SmtpTransport
    breakers: Breakers
    clock: FakeClock
    waiting: Waiting
    make_lease: MakeLease

    async def send(self, *addresses: str, times: int = 1) -> Outcome:
        for _ in range(times):
            self.clock.skip(1)
            outcomes = await self.transport.deliver(self.make_lease(*addresses))
        return outcomes[0]

    async def condition(self) -> Condition:
        found = await self.breakers.all()
        return found[0].condition if found else Condition.CLOSED


@pytest.fixture
def world(resolver: FakeResolver, remote: FakeRemote, offload: Offload, make_lease: MakeLease, tmp_path: Path) -> World:
    clock, waiting = FakeClock(), Waiting()
    breakers = Breakers(MemoryBreakerStore(), offload, clock, Metrics())
    config = Delivery(port=remote.port, allow_private_addresses=True)
    transport = SmtpTransport(
        resolver,
        hostname="here.example",
        config=config,
        offload=offload,
        clock=clock,
        tls=outbound_tls(resolver, tmp_path, config, offload, clock),
        passages=Passages(breakers, waiting, offload, clock),
    )
    return World(transport, breakers, clock, waiting, make_lease)


async def test_d3_answers_about_recipients_senders_and_messages_never_open_a_breaker(
    world: World, remote: FakeRemote
) -> None:
    script = remote.script
    for broken in (
        replace(script, rcpt={"bob@there.example": b"550 5.1.1 unknown"}),
        replace(script, rcpt={"bob@there.example": b"451 4.2.1 not now"}),
        replace(script, mail=b"550 5.7.1 not you"),
        replace(script, mail=b"450 4.7.1 not you now"),
        replace(script, data=b"451 4.3.0 no"),
        replace(script, final=b"554 5.6.0 bad message"),
        replace(script, final=b"452 4.3.1 full"),
        replace(script, greeting=b"554 5.3.2 no mail here, ever"),
        replace(script, close_at="body"),
    ):
        remote.script = broken
        await world.send(times=6)
        assert await world.breakers.all() == []


@pytest.mark.parametrize(
    "broken",
    [
        {"greeting": b"421 4.3.2 too busy"},
        {"greeting": b"450 4.7.0 later"},
        {"ehlo": b"421 4.3.2 too busy"},
        {"close_at": "connect"},
        {"close_at": "EHLO"},
    ],
    ids=["421", "450", "421 to EHLO", "closed before the greeting", "closed at EHLO"],
)
async def test_five_connections_that_lead_nowhere_open_it(
    world: World, remote: FakeRemote, broken: dict[str, object]
) -> None:
    remote.script = replace(remote.script, **broken)  # type: ignore[arg-type]
    tried = await world.send(times=5)
    assert (tried.fate, remote.connections) == (Fate.DEFERRED, 5)
    outcome = await world.send()
    assert (outcome.fate, remote.connections) == (Fate.POSTPONED, 5)
    assert outcome.text.startswith(f"mx.there.example:{remote.port} is passed over since 5 connections in a row failed")
    assert outcome.retry_at is not None
    assert 290 < (outcome.retry_at - world.clock.now()).total_seconds() <= 300


async def test_d2_a_repaired_host_gets_its_mail_after_one_probe_time_and_stays_closed(
    world: World, remote: FakeRemote
) -> None:
    script = remote.script
    remote.script = replace(script, close_at="connect")
    await world.send(times=5)
    remote.script = script
    world.clock.skip(300)
    outcomes = [await world.send() for _ in range(10)]
    assert {one.fate for one in outcomes} == {Fate.DELIVERED}
    assert await world.condition() is Condition.CLOSED


async def test_the_destinations_other_mail_is_put_off_once_until_the_probe(world: World, remote: FakeRemote) -> None:
    remote.script = replace(remote.script, close_at="connect")
    await world.send(times=5)
    for _ in range(5):
        await world.send()
    [(destination, until, reason)] = world.waiting.calls
    assert destination == "there.example"
    assert "is passed over" in reason
    assert timedelta(minutes=4) < until - world.clock.now() <= timedelta(minutes=5, seconds=1)


async def test_an_open_host_is_passed_over_and_the_next_one_takes_the_mail(
    world: World, resolver: FakeResolver
) -> None:
    resolver.zone["there.example", "MX"] = ["10 dead.there.example.", "20 mx.there.example."]
    resolver.zone["dead.there.example", "A"] = ["127.0.0.77"]
    outcomes = [await world.send() for _ in range(7)]
    assert {one.fate for one in outcomes} == {Fate.DELIVERED}
    [breaker] = await world.breakers.all()
    assert (breaker.host.partition(":")[0], breaker.condition, breaker.failures) == (
        "dead.there.example", Condition.OPEN, 5,
    )  # fmt: skip


async def test_an_open_host_keeps_a_second_one_that_wants_no_mail_from_failing_it(
    world: World, resolver: FakeResolver, remote: FakeRemote
) -> None:
    resolver.zone["there.example", "MX"] = ["10 dead.there.example.", "20 mx.there.example."]
    resolver.zone["dead.there.example", "A"] = ["127.0.0.77"]
    remote.script = replace(remote.script, greeting=b"554 5.3.2 no mail here")
    assert (await world.send(times=6)).fate is Fate.DEFERRED


async def test_one_dead_address_of_a_host_that_greets_at_another_does_not_count(
    world: World, resolver: FakeResolver
) -> None:
    resolver.zone["mx.there.example", "A"] = ["127.0.0.77", "127.0.0.1"]
    assert (await world.send(times=7)).fate is Fate.DELIVERED
    assert await world.breakers.all() == []


async def test_what_is_about_to_expire_is_tried_whatever_its_host(world: World, remote: FakeRemote) -> None:
    remote.script = replace(remote.script, close_at="connect")
    await world.send(times=5)
    world.clock.skip(7 * 86_400 - 5 - 200)
    await world.send()  # the probe that is due by now
    outcome = await world.send()
    expires_at = world.make_lease().message.expires_at
    assert outcome.fate is Fate.POSTPONED
    assert outcome.retry_at == expires_at - timedelta(minutes=1)
    world.clock.skip((outcome.retry_at - world.clock.now()).total_seconds())
    connections = remote.connections
    assert (await world.send()).fate is Fate.DEFERRED
    assert remote.connections == connections + 1


async def test_a_complaint_of_one_host_does_not_keep_the_message_from_the_next_of_the_same_provider(
    world: World, resolver: FakeResolver, remote: FakeRemote, offload: Offload, tmp_path: Path
) -> None:
    """RFC 5321 5.1: the next host is tried when one turns us away in its greeting."""
    config = Delivery(port=remote.port, allow_private_addresses=True)
    clock = world.clock
    pace = Pace(lambda: config, NoCounts(), clock, WarmUpPlan())
    made = SmtpTransport(
        resolver,
        hostname="here.example",
        config=config,
        offload=offload,
        clock=clock,
        tls=outbound_tls(resolver, tmp_path, config, offload, clock),
        passages=Passages(world.breakers, world.waiting, offload, clock, pace=pace),
    )
    resolver.zone["there.example", "MX"] = ["10 busy.there.example.", "20 mx.there.example."]
    resolver.zone["busy.there.example", "A"] = ["127.0.0.2"]
    busy = FakeRemote(Script(greeting=b"421 4.7.0 too many connections from you"))
    await busy.start(remote.port, ("127.0.0.2",))
    try:
        [outcome] = await made.deliver(world.make_lease())
        assert (outcome.fate, busy.connections) == (Fate.DELIVERED, 1)
        assert pace.admit("there.example", "there.example", Priority.PERSON) is not None  # others wait a minute
    finally:
        await busy.close()
