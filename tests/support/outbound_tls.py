"""The encryption part of a transport, with a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Delivery
from mailbox_app.db.offload import Offload
from mailbox_app.net.resolver import Resolver
from mailbox_app.outbound.tls.memory import TlsMemory
from mailbox_app.outbound.tls.out import OutboundTls
from mailbox_app.outbound.tls.witness import TlsSession, TlsWitness


class Recorder:
    """A witness that remembers."""

    def __init__(self) -> None:
        self.sessions: list[TlsSession] = []

    def saw(self, session: TlsSession) -> None:
        self.sessions.append(session)

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(str(one.policy_type), str(one.result)) for one in self.sessions]


def outbound_tls(
    resolver: Resolver,
    folder: Path,
    config: Delivery,
    offload: Offload,
    clock: Clock,
    witnesses: Sequence[TlsWitness] = (),
) -> OutboundTls:
    """Remembers in `folder`/tls.db."""
    memory = TlsMemory(folder / "tls.db", clock)
    return OutboundTls(resolver, memory, config=config, offload=offload, clock=clock, witnesses=witnesses)
