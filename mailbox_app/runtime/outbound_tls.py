"""Encryption on the way out in the core: its parts, and its regular work.

Cached MTA-STS policies are fetched again before they run out, old rows are dropped, and whether DANE can work here at all is
looked at now and then and told in one line (`Dnssec.sentence`), in the log when it changes and by `mailbox tls policy`.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError
from mailbox_app.outbound.tls.dnssec import Dnssec
from mailbox_app.outbound.tls.memory import TlsMemory
from mailbox_app.outbound.tls.out import OutboundTls
from mailbox_app.outbound.tls.witness import LoggedSessions, TlsWitness
from mailbox_app.runtime.parts import Parts

_FIRST_SECONDS = 20.0
_ROUND_SECONDS = 3_600.0
_UNKNOWN_SECONDS = 60.0
"""A resolver that did not answer at the start is asked again soon."""


class TlsUpkeep:
    """One round an hour until cancelled; what fails is logged and comes again."""

    def __init__(self, tls: OutboundTls, dnssec: Dnssec, offload: Offload, clock: Clock) -> None:
        self._tls = tls
        self._dnssec = dnssec
        self._offload = offload
        self._clock = clock
        self._told = ""
        self._log = structlog.get_logger("outbound")

    async def run(self) -> None:
        """Until cancelled."""
        await self._look()
        await self._clock.sleep(_FIRST_SECONDS)
        while True:
            await self._look()
            try:
                fetched = await self._tls.sts.refresh()
                await self._offload.run(self._tls.memory.purge)
            except (MailboxError, OSError) as error:
                self._log.warning("tls_upkeep_failed", reason=str(error))
            else:
                if fetched:
                    self._log.info("mta_sts_refreshed", count=fetched)
            await self._clock.sleep(_UNKNOWN_SECONDS if self._dnssec.works is None else _ROUND_SECONDS)

    async def _look(self) -> None:
        """One line when what it says is new."""
        await self._dnssec.look()
        if self._dnssec.sentence != self._told:
            self._told = self._dnssec.sentence
            self._log.info("dane", works=self._dnssec.works, text=self._told)


def outbound_tls(parts: Parts, listeners: Sequence[TlsWitness] = ()) -> OutboundTls:
    """What the transport asks; `listeners` hear of every session beside the log."""
    memory = TlsMemory(parts.data_dir / "tls.db", parts.clock)
    return OutboundTls(
        parts.resolver,
        memory,
        config=parts.config.delivery,
        offload=parts.offload,
        clock=parts.clock,
        witnesses=[LoggedSessions(), *listeners],
    )
