"""All checks of who sent a message, under one deadline, reported and never raised.

Costs follow the message: without a signature nothing is hashed, and a local client's unsigned message asks DNS nothing. The
body is read once, for DKIM and ARC together.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import BinaryIO, TypeVar

import structlog

from mailbox_app.db.offload import Offload
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.arc import ARC_FIELDS, Chain, read_chain, verify_chain
from mailbox_app.mailauth.canonical import CanonicalHeader
from mailbox_app.mailauth.dkim_verify import BodyForm, BodyHashes, Signature, hash_body, read_signatures, verify
from mailbox_app.mailauth.dmarc import Dmarc, author_domain
from mailbox_app.mailauth.iprev import iprev
from mailbox_app.mailauth.report import report
from mailbox_app.mailauth.results import ArcResult, AuthResults, DkimResult, DmarcResult, IprevResult, Result, SpfResult
from mailbox_app.mailauth.spf_check import check_helo, check_spf
from mailbox_app.net.resolver import Resolver
from mailbox_app.proto.header import Header

T = TypeVar("T")

# Hashing this much takes less time than the way to a thread and back.
_INLINE_BODY_BYTES = 65_536
# A message of ten signatures is signed ten times over; only a chain of many sets needs more keys at once.
_KEYS_AT_ONCE = 16
# A longer chain is judged in a thread: fifty sets are a hundred public-key operations.
_SHORT_CHAIN = 5
_SHARE_BEFORE_DMARC = 0.75
"""Of the time: whoever writes in another's name must not use all of it up with name servers that never answer."""
_RECENT_SECONDS = 60.0
"""Who sends again within a minute is the same for SPF: less than any record's time to live should be."""
_MAX_RECENT = 2_000
_SIGNED = frozenset((b"dkim-signature", *ARC_FIELDS))
_TIMED_OUT = "no answer in time"
_FAILED = "the check could not be made"
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_Keys = Mapping[str, Sequence[str] | str]


@dataclass(frozen=True, slots=True)
class _Client:
    """Who hands a message in."""

    remote_ip: str
    helo: str
    sender: str
    local: bool


class SenderChecks:
    """SPF, DKIM, ARC, DMARC and iprev of one message at a time; remembers SPF results for a minute."""

    def __init__(
        self,
        resolver: Resolver,
        offload: Offload,
        hostname: str,
        *,
        check_private_clients: bool,
        trusted_sealers: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """`trusted_sealers` gives the domains whose ARC seals are believed, with all below them."""
        self._resolver = resolver
        self._offload = offload
        self._hostname = hostname
        self._check_private_clients = check_private_clients
        self._trusted_sealers = trusted_sealers
        self._recent_spf: OrderedDict[_Client, tuple[float, SpfResult]] = OrderedDict()
        self._log = structlog.get_logger("mailauth")

    async def spf(self, *, remote_ip: str, helo: str, sender: str, timeout_seconds: float) -> SpfResult:
        """SPF alone, as soon as the sender is named: of the envelope sender, with the HELO name's beside it (`helo`).

        For the null sender the HELO name's is the only one. Hand the result to `check` later.
        """
        client = _Client(remote_ip, helo, sender, self._is_local(remote_ip))
        return await self._spf(client, asyncio.get_running_loop().time() + timeout_seconds)

    async def iprev(self, remote_ip: str, *, timeout_seconds: float) -> IprevResult:
        """The client's confirmed name; for clients of the local network as for all."""
        return await self._iprev(remote_ip, asyncio.get_running_loop().time() + timeout_seconds)

    async def check(
        self,
        *,
        remote_ip: str,
        helo: str,
        sender: str,
        header: Header,
        body: bytes | BinaryIO,
        timeout_seconds: float,
        spf: SpfResult | None = None,
        iprev: IprevResult | None = None,
    ) -> AuthResults:
        """Check one message; `body` is all after the empty line, a file read from where it stands.

        `spf` and `iprev` are results that are there already, else they are found now.
        """
        client = _Client(remote_ip, helo, sender, self._is_local(remote_ip))
        now = asyncio.get_running_loop().time()
        deadline = now + timeout_seconds * _SHARE_BEFORE_DMARC
        if client.local and not any(field.key in _SIGNED for field in header.fields):
            found = await self._spf(client, deadline)
            unasked = DmarcResult(Result.NONE, author_domain(header) or "")
            return report(self._hostname, remote_ip, found, (), unasked, ArcResult(Result.NONE), None)
        if spf is not None and (iprev is not None or client.local):
            found, name = spf, iprev
            dkim, arc = await self._check_signatures(header, body, deadline)
        else:
            found, name, (dkim, arc) = await asyncio.gather(
                _known(spf) if spf is not None else self._spf(client, deadline),
                _known(iprev) if iprev is not None or client.local else self._iprev(remote_ip, deadline),
                self._check_signatures(header, body, deadline),
            )
        dmarc = await self._check_dmarc(header, found, dkim, arc, now + timeout_seconds)
        return report(self._hostname, remote_ip, found, dkim, dmarc, arc, name)

    def _is_local(self, remote_ip: str) -> bool:
        return not self._check_private_clients and is_private(remote_ip)

    async def _bounded(self, check: Awaitable[T], deadline: float | None, method: str) -> T | str:
        """The result, or why there is none."""
        try:
            async with asyncio.timeout_at(deadline):
                return await check
        except TimeoutError:
            return _TIMED_OUT
        except ResolveError as error:
            return error.public_text
        except Exception:  # noqa: BLE001 - a check that breaks must never cost a message
            self._log.exception("sender check failed", method=method)
            return _FAILED

    async def _iprev(self, remote_ip: str, deadline: float) -> IprevResult:
        result = await self._bounded(iprev(self._resolver, remote_ip), deadline, "iprev")
        return IprevResult(Result.TEMPERROR, remote_ip, reason=result) if isinstance(result, str) else result

    async def _spf(self, client: _Client, deadline: float) -> SpfResult:
        if client.local:
            return SpfResult(Result.NONE, sender=client.sender or client.helo, reason="local client")
        now = asyncio.get_running_loop().time()
        known = self._recent_spf.get(client)
        if known is not None and known[0] > now:
            return known[1]
        result = await self._fresh_spf(client, deadline)
        if Result.TEMPERROR not in (result.result, result.helo.result if result.helo is not None else None):
            self._recent_spf[client] = (now + _RECENT_SECONDS, result)
            self._recent_spf.move_to_end(client)
            if len(self._recent_spf) > _MAX_RECENT:
                self._recent_spf.popitem(last=False)
        return result

    async def _fresh_spf(self, client: _Client, deadline: float) -> SpfResult:
        arguments = {"remote_ip": client.remote_ip, "helo": client.helo, "receiver": self._hostname}
        if not client.sender:
            return await self._one_spf(check_spf(self._resolver, sender="", **arguments), client, "helo", deadline)
        found, greeted = await asyncio.gather(
            self._one_spf(check_spf(self._resolver, sender=client.sender, **arguments), client, "mailfrom", deadline),
            self._one_spf(check_helo(self._resolver, **arguments), client, "helo", deadline),
        )
        return replace(found, helo=greeted)

    async def _one_spf(self, check: Awaitable[SpfResult], client: _Client, identity: str, deadline: float) -> SpfResult:
        result = await self._bounded(check, deadline, "spf")
        if not isinstance(result, str):
            return result
        asked = client.sender if identity == "mailfrom" else client.helo
        return SpfResult(Result.TEMPERROR, asked.rpartition("@")[2], identity, asked, result)

    async def _check_signatures(
        self, header: Header, body: bytes | BinaryIO, deadline: float
    ) -> tuple[Sequence[DkimResult], ArcResult]:
        items = read_signatures(header)
        signatures = [item for item in items if isinstance(item, Signature)]
        chain = read_chain(header)
        names = [signature.key_name for signature in signatures]
        forms = [signature.form for signature in signatures]
        if isinstance(chain, Chain):
            names.extend(chain.key_names())
            forms.extend(chain.body_forms())
        if not names:
            return _unread(items), chain if isinstance(chain, ArcResult) else ArcResult(Result.NONE)
        names = list(dict.fromkeys(names))
        if _is_small(body):
            keys = await self._fetch_keys(names, deadline)
            hashes = await self._bounded(self._hash(body, forms), None, "dkim")
        else:
            # The hash is local work and is waited for in any case: a thread must not read a file its owner uses again.
            hashes, keys = await asyncio.gather(
                self._bounded(self._hash(body, forms), None, "dkim"), self._fetch_keys(names, deadline)
            )
        canonical = CanonicalHeader(header)
        dkim = [
            self._verify(item, canonical, hashes, keys[item.key_name]) if isinstance(item, Signature) else item
            for item in items
        ]
        return dkim, await self._judge(chain, canonical, keys, hashes)

    async def _fetch_keys(self, names: Sequence[str], deadline: float) -> _Keys:
        """The TXT records at each name, or why they could not be had."""
        if len(names) == 1:
            answer = await self._bounded(self._resolver.query(names[0], "TXT"), deadline, "dkim")
            return {names[0]: answer if isinstance(answer, str) else answer.records}
        turns = asyncio.Semaphore(_KEYS_AT_ONCE)

        async def fetch(name: str) -> Sequence[str]:
            async with turns:
                return (await self._resolver.query(name, "TXT")).records

        found = await asyncio.gather(*(self._bounded(fetch(name), deadline, "dkim") for name in names))
        return dict(zip(names, found, strict=True))

    async def _hash(self, body: bytes | BinaryIO, forms: Sequence[BodyForm]) -> BodyHashes:
        if _is_small(body):
            return hash_body(body, forms)
        return await self._offload.run(hash_body, body, forms)

    def _verify(
        self, signature: Signature, header: CanonicalHeader, hashes: BodyHashes | str, key: Sequence[str] | str
    ) -> DkimResult:
        if isinstance(hashes, str) or isinstance(key, str):
            why = key if isinstance(key, str) else "the body could not be read"
            return replace(signature.draft, result=Result.TEMPERROR, reason=why)
        try:
            return verify(signature, header, key, hashes)
        except Exception:  # noqa: BLE001 - as in `_bounded`
            self._log.exception("sender check failed", method="dkim")
            return replace(signature.draft, result=Result.TEMPERROR, reason=_FAILED)

    async def _judge(
        self, chain: Chain | ArcResult, header: CanonicalHeader, keys: _Keys, hashes: BodyHashes | str
    ) -> ArcResult:
        if isinstance(chain, ArcResult):
            return chain
        if isinstance(hashes, str):
            return ArcResult(Result.TEMPERROR, reason="the body could not be read", instance=len(chain.links))
        if len(chain.links) <= _SHORT_CHAIN:
            verdict = self._bounded(_at_once(verify_chain, chain, header, keys, hashes), None, "arc")
        else:
            verdict = self._bounded(self._offload.run(verify_chain, chain, header, keys, hashes), None, "arc")
        result = await verdict
        if isinstance(result, str):
            return ArcResult(Result.TEMPERROR, reason=result, instance=len(chain.links))
        return result

    async def _check_dmarc(
        self, header: Header, spf: SpfResult, dkim: Sequence[DkimResult], arc: ArcResult, deadline: float
    ) -> DmarcResult:
        dmarc = Dmarc(self._resolver, lot=random.random(), trusted_sealers=self._trusted_sealers())
        result = await self._bounded(dmarc.evaluate(header, spf, dkim, arc), deadline, "dmarc")
        if isinstance(result, str):
            return DmarcResult(Result.TEMPERROR, author_domain(header) or "", reason=result)
        return result


def _is_small(body: bytes | BinaryIO) -> bool:
    return isinstance(body, bytes) and len(body) <= _INLINE_BODY_BYTES


async def _known(result: T) -> T:
    return result


async def _at_once(
    judge: Callable[[Chain, CanonicalHeader, _Keys, BodyHashes], ArcResult],
    chain: Chain,
    header: CanonicalHeader,
    keys: _Keys,
    hashes: BodyHashes,
) -> ArcResult:
    return judge(chain, header, keys, hashes)


def _unread(items: Sequence[Signature | DkimResult]) -> Sequence[DkimResult]:
    """The results of signatures none of which could be read."""
    return [item for item in items if isinstance(item, DkimResult)]


@lru_cache(4096)
def is_private(remote_ip: str) -> bool:
    """Whether the client is on this machine or its local network, where SPF means nothing."""
    try:
        address = ipaddress.ip_address(remote_ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return (
        address.is_loopback
        or address.is_link_local
        or any(address in network for network in _PRIVATE if network.version == address.version)
    )
