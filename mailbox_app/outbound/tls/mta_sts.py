"""MTA-STS: which policy a domain has now. RFC 8461

A policy once fetched holds until its max_age is over, whatever DNS or the web server say or fail to say meanwhile; a new id in the
TXT record or a day that went by make it be fetched again. What fails is remembered for five minutes, so a dead web server is not
asked for every message. The fetch takes no redirects, no private addresses, no other certificate than one for `mta-sts.DOMAIN`, at
most 64 KB and a quarter of a minute. Fetch failures without a policy in hand mean no policy (3.3), and are told.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import OrderedDict
from dataclasses import dataclass, replace

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.offload import Offload
from mailbox_app.errors import MailboxError, ProtocolError, ResolveError
from mailbox_app.net.https import HttpsTrouble, get
from mailbox_app.net.resolver import Resolver, lookup_addresses
from mailbox_app.outbound.tls.memory import CachedPolicy, Remembered, TlsMemory
from mailbox_app.outbound.tls.witness import TlsResult
from mailbox_app.proto.mta_sts_policy import MAX_POLICY_BYTES, StsMode, StsPolicy, parse_policy, parse_record

_FETCH_SECONDS = 15.0
_AGAIN_SECONDS = 300.0
"""RFC 8461 3.3: not more often after a failure."""
_SETTLED_SECONDS = 60.0
"""A new id so soon after a fetch waits: one that changes with every answer of DNS must not cost a fetch for every message."""
_FRESH_SECONDS = 86_400.0
_USED_SECONDS = 30 * 86_400.0
_REFRESH_AT_ONCE = 200
_FETCHES = 10
_FAILURES_KEPT = 5_000
_USED_STEP_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class StsTrouble:
    """Why there is no fresh policy although the domain says that it has one."""

    result: TlsResult
    text: str


@dataclass(frozen=True, slots=True)
class StsFinding:
    """What holds for a domain now."""

    policy: StsPolicy | None
    record_id: str = ""
    fetched_at_seconds: float = 0.0
    expires_at_seconds: float = 0.0
    trouble: StsTrouble | None = None
    trouble_is_new: bool = False
    """Seen first by this look; later ones repeat it from memory."""


class _Failed(Exception):
    def __init__(self, trouble: StsTrouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


class StsPolicies:
    """Finds policies, fetches and keeps them."""

    def __init__(
        self,
        resolver: Resolver,
        memory: TlsMemory,
        offload: Offload,
        clock: Clock,
        *,
        context: ssl.SSLContext,
        port: int = 443,
        allow_private_addresses: bool = False,
    ) -> None:
        """`context` proves web servers; `port` is theirs."""
        self._resolver = resolver
        self._memory = memory
        self._offload = offload
        self._clock = clock
        self._context = context
        self._port = port
        self._allow_private_addresses = allow_private_addresses
        self._fetching: dict[str, asyncio.Task[CachedPolicy]] = {}
        self._failed: OrderedDict[str, tuple[float, StsTrouble]] = OrderedDict()
        self._turns = asyncio.Semaphore(_FETCHES)
        self._log = structlog.get_logger("outbound")

    async def find(self, domain: str, remembered: Remembered) -> StsFinding:
        """The policy that binds mail to the domain; never raises for the network's sake."""
        now = self._clock.epoch_seconds()
        cached = remembered.policy
        if cached is not None and cached.expires_at_seconds <= now:
            cached = None
        try:
            answer = await self._resolver.query(f"_mta-sts.{domain}", "TXT")
        except ResolveError:  # RFC 8461 3.3: what is cached goes on; without it nothing can be known
            return _finding(cached)
        record_id = parse_record(answer.records)
        if record_id is None or (cached is not None and cached.record_id == record_id):
            if cached is not None and now - cached.used_at_seconds > _USED_STEP_SECONDS:
                await self._put(replace(cached, used_at_seconds=now))
            return _finding(cached)
        if cached is not None and now - cached.fetched_at_seconds < _SETTLED_SECONDS:
            return _finding(cached)
        failed = self._failed.get(domain)
        if failed is not None and failed[0] > self._clock.monotonic_seconds():
            return replace(_finding(cached), trouble=failed[1])
        try:
            return _finding(await self._fetched(domain, record_id, remembered.policy))
        except _Failed as error:
            return replace(_finding(cached), trouble=error.trouble, trouble_is_new=True)

    async def refresh(self) -> int:
        """Fetch again what is in use and a day old, before it runs out; how many were fetched. RFC 8461 10.2"""
        now = self._clock.epoch_seconds()
        due = await self._offload.run(
            self._memory.policies_due, now - _FRESH_SECONDS, now - _USED_SECONDS, _REFRESH_AT_ONCE
        )
        count = 0
        for row in due:
            try:
                answer = await self._resolver.query(f"_mta-sts.{row.domain}", "TXT")
                record_id = parse_record(answer.records)
                if record_id is None:  # withdrawn without notice: the old one still holds, and is looked at tomorrow
                    await self._put(replace(row, tried_at_seconds=now))
                    continue
                await self._fetched(row.domain, record_id, row)
                count += 1
            except (_Failed, ResolveError) as error:
                text = error.trouble.text if isinstance(error, _Failed) else error.public_text
                await self._put(replace(row, tried_at_seconds=now, failure=text))
        return count

    async def _fetched(self, domain: str, record_id: str, before: CachedPolicy | None) -> CachedPolicy:
        """Fetch and keep; equal wishes at the same time share one fetch. `_Failed`."""
        task = self._fetching.get(domain)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch_and_keep(domain, record_id, before))
            self._fetching[domain] = task
            task.add_done_callback(lambda done: self._ended(domain, done))
        return await asyncio.shield(task)

    def _ended(self, domain: str, task: asyncio.Task[CachedPolicy]) -> None:
        del self._fetching[domain]
        if not task.cancelled():
            task.exception()

    async def _fetch_and_keep(self, domain: str, record_id: str, before: CachedPolicy | None) -> CachedPolicy:
        try:
            async with self._turns:
                policy = await self._fetch(domain)
        except _Failed as error:
            self._failed[domain] = (self._clock.monotonic_seconds() + _AGAIN_SECONDS, error.trouble)
            self._failed.move_to_end(domain)
            if len(self._failed) > _FAILURES_KEPT:
                self._failed.popitem(last=False)
            if before is not None:
                await self._put(replace(before, failure=error.trouble.text))
            raise
        self._failed.pop(domain, None)
        now = self._clock.epoch_seconds()
        used = now if before is None else max(before.used_at_seconds, before.fetched_at_seconds)
        row = CachedPolicy(domain, record_id, policy, now, now + policy.max_age_seconds, used, now)
        await self._put(row)
        return row

    async def _put(self, row: CachedPolicy) -> None:
        try:
            await self._offload.run(self._memory.put_policy, row)
        except MailboxError as error:  # it holds for this delivery all the same
            self._log.warning("mta_sts_policy_not_kept", domain=row.domain, reason=str(error))

    async def _fetch(self, domain: str) -> StsPolicy:
        host = f"mta-sts.{domain}"
        try:
            addresses = await lookup_addresses(self._resolver, host)
        except ResolveError as error:
            raise _Failed(StsTrouble(TlsResult.STS_FETCH_ERROR, f"{host}: {error.public_text}")) from error
        if not self._allow_private_addresses:
            public = [address for address in addresses if ipaddress.ip_address(address).is_global]
            if addresses and not public:
                raise _Failed(StsTrouble(TlsResult.STS_FETCH_ERROR, f"{host} has only private addresses"))
            addresses = public
        try:
            response = await get(
                host,
                "/.well-known/mta-sts.txt",
                addresses=addresses[:4],
                port=self._port,
                context=self._context,
                seconds=_FETCH_SECONDS,
                max_bytes=MAX_POLICY_BYTES,
            )
        except HttpsTrouble as error:
            result = TlsResult.STS_WEBPKI_INVALID if error.certificate else TlsResult.STS_FETCH_ERROR
            raise _Failed(StsTrouble(result, error.public_text)) from error
        if response.status != 200:  # RFC 8461 3.3: also a redirect is a failure
            raise _Failed(StsTrouble(TlsResult.STS_FETCH_ERROR, f"{host} answered with status {response.status}"))
        if response.content_type not in ("", "text/plain"):  # RFC 8461 3.2
            raise _Failed(StsTrouble(TlsResult.STS_INVALID, f"{host} sent something that is not plain text"))
        try:
            return parse_policy(response.body)
        except ProtocolError as error:
            raise _Failed(StsTrouble(TlsResult.STS_INVALID, error.public_text)) from error


def _finding(cached: CachedPolicy | None) -> StsFinding:
    if cached is None:
        return StsFinding(None)
    policy = None if cached.policy.mode is StsMode.NONE else cached.policy
    return StsFinding(policy, cached.record_id, cached.fetched_at_seconds, cached.expires_at_seconds)
