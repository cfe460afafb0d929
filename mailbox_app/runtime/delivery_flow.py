"""Builds what decides whether and how fast mail goes to a host: breakers, pace and passages."""

from __future__ import annotations

from mailbox_app.errors import StoreError
from mailbox_app.mailqueue.destinations.breaker_store import BreakerStore, SqliteBreakerStore
from mailbox_app.mailqueue.destinations.breakers import Breakers
from mailbox_app.mailqueue.destinations.pace import Pace, parse_day
from mailbox_app.mailqueue.destinations.warm_up import SendingAddresses, WarmUpPlan
from mailbox_app.mailqueue.redis.breakers import RedisBreakerStore
from mailbox_app.outbound.passages import Passages
from mailbox_app.runtime.parts import Parts


def breakers(parts: Parts) -> Breakers:
    """The hosts' breakers, shared by all that deliver."""
    store: BreakerStore
    if parts.link is not None:
        store = RedisBreakerStore(parts.link)
    else:
        store = own = SqliteBreakerStore(parts.state.database, parts.clock)
        own.free_probes()
    return Breakers(store, parts.offload, parts.clock, parts.metrics)


def pace(parts: Parts) -> Pace:
    """How fast destinations get their mail. The first day of a warm-up is taken at the start; the rest follows a reload."""
    return Pace(lambda: parts.current.config.delivery, parts.state.state.rates, parts.clock, _warm_up(parts))


def passages(parts: Parts, known: Breakers, paced: Pace) -> Passages:
    """What the transport asks before it connects."""
    return Passages(known, parts.queue, parts.offload, parts.clock, pace=paced)


def _warm_up(parts: Parts) -> WarmUpPlan:
    delivery = parts.config.delivery
    rule = delivery.warm_up
    if not rule.start:
        return WarmUpPlan()
    if rule.start != "auto":
        return WarmUpPlan(parse_day(rule.start), rule.volumes)
    address = " ".join(sorted(each.split()[0] for each in delivery.sources if each.split())) or "default"
    now = parts.clock.now()
    try:
        return WarmUpPlan(SendingAddresses(parts.state.database).first_seen(address, now), rule.volumes)
    except StoreError:  # the start must not hang on it: today is a cautious guess
        return WarmUpPlan(now, rule.volumes)
