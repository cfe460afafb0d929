"""Builds what decides whether and how fast mail goes to a host: breakers and passages."""

from __future__ import annotations

from mailbox_app.mailqueue.breaker_store import SqliteBreakerStore
from mailbox_app.mailqueue.breakers import Breakers
from mailbox_app.outbound.passages import Passages
from mailbox_app.runtime.parts import Parts


def breakers(parts: Parts) -> Breakers:
    """The hosts' breakers, shared by all that deliver."""
    store = SqliteBreakerStore(parts.state.database, parts.clock)
    return Breakers(store, parts.offload, parts.clock, parts.metrics)


def passages(parts: Parts, known: Breakers) -> Passages:
    """What the transport asks before it connects."""
    return Passages(known, parts.queue, parts.offload, parts.clock)
