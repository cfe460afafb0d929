"""All checks of who sent a message, under one deadline, reported and never raised.

Costs follow the message: without a signature nothing is hashed, and a local client's unsigned message asks DNS nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import BinaryIO, TypeVar

import structlog

from mailbox_app.db.offload import Offload
from mailbox_app.errors import ResolveError
from mailbox_app.mailauth.dkim_verify import BodyForm, Signature, hash_body, read_signatures, verify
from mailbox_app.mailauth.dmarc import Dmarc, author_domain
from mailbox_app.mailauth.results import AuthResults, DkimResult, DmarcResult, Result, SpfResult
from mailbox_app.mailauth.spf_check import check_spf
from mailbox_app.net.resolver import Answer, Resolver
from mailbox_app.proto.authres import Method, compose_authres
from mailbox_app.proto.header import Header

T = TypeVar("T")

# Hashing this much takes less time than the way to a thread and back.
_INLINE_BODY_BYTES = 65_536
_TIMED_OUT = "no answer in time"
_FAILED = "the check could not be made"
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)


class SenderChecks:
    """SPF, DKIM and DMARC of one message at a time; holds no state of its own."""

    def __init__(self, resolver: Resolver, offload: Offload, hostname: str, *, check_private_clients: bool) -> None:
        self._resolver = resolver
        self._offload = offload
        self._hostname = hostname
        self._check_private_clients = check_private_clients
        self._log = structlog.get_logger("mailauth")

    async def check(
        self,
        *,
        remote_ip: str,
        helo: str,
        sender: str,
        header: Header,
        body: bytes | BinaryIO,
        timeout_seconds: float,
    ) -> AuthResults:
        """Check one message; `body` is all after the empty line, a file read from where it stands."""
        local = not self._check_private_clients and is_private(remote_ip)
        signed = any(field.key == b"dkim-signature" for field in header.fields)
        if local:
            spf = SpfResult(Result.NONE, sender=sender or helo, reason="local client")
            if not signed:
                dmarc = DmarcResult(Result.NONE, author_domain(header) or "")
                return self._report(spf, (), dmarc)
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        if local:
            dkim = await self._check_dkim(header, body, deadline)
        else:
            spf, dkim = await asyncio.gather(
                self._check_spf(remote_ip, helo, sender, deadline), self._check_dkim(header, body, deadline)
            )
        dmarc = await self._check_dmarc(header, spf, dkim, deadline)
        return self._report(spf, dkim, dmarc)

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

    async def _check_spf(self, remote_ip: str, helo: str, sender: str, deadline: float) -> SpfResult:
        check = check_spf(self._resolver, remote_ip=remote_ip, helo=helo, sender=sender, receiver=self._hostname)
        result = await self._bounded(check, deadline, "spf")
        if isinstance(result, str):
            identity = "mailfrom" if sender else "helo"
            domain = sender.rpartition("@")[2] if sender else helo
            return SpfResult(Result.TEMPERROR, domain, identity, sender or helo, result)
        return result

    async def _check_dkim(self, header: Header, body: bytes | BinaryIO, deadline: float) -> Sequence[DkimResult]:
        if not any(field.key == b"dkim-signature" for field in header.fields):
            return ()
        items = read_signatures(header)
        signatures = [item for item in items if isinstance(item, Signature)]
        # The hash is local work and is waited for in any case: a thread must not read a file its owner uses again.
        hashes, keys = await asyncio.gather(
            self._bounded(self._hash(body, signatures), None, "dkim"), self._fetch_keys(signatures, deadline)
        )
        found = dict(zip(map(id, signatures), keys, strict=True))
        results = []
        for item in items:
            if isinstance(item, Signature):
                results.append(self._verify(item, header, hashes, found[id(item)]))
            else:
                results.append(item)
        return results

    async def _fetch_keys(self, signatures: Sequence[Signature], deadline: float) -> Sequence[Answer | str]:
        query = self._resolver.query
        return await asyncio.gather(
            *(self._bounded(query(item.key_name, "TXT"), deadline, "dkim") for item in signatures)
        )

    async def _hash(self, body: bytes | BinaryIO, signatures: Sequence[Signature]) -> Mapping[BodyForm, bytes]:
        forms = [signature.form for signature in signatures]
        if not forms or (isinstance(body, bytes) and len(body) <= _INLINE_BODY_BYTES):
            return hash_body(body, forms) if forms else {}
        return await self._offload.run(hash_body, body, forms)

    def _verify(
        self, signature: Signature, header: Header, hashes: Mapping[BodyForm, bytes] | str, key: Answer | str
    ) -> DkimResult:
        if isinstance(hashes, str) or isinstance(key, str):
            why = key if isinstance(key, str) else "the body could not be read"
            return replace(signature.draft, result=Result.TEMPERROR, reason=why)
        try:
            return verify(signature, header, key.records, hashes[signature.form])
        except Exception:  # noqa: BLE001 - as in `_bounded`
            self._log.exception("sender check failed", method="dkim")
            return replace(signature.draft, result=Result.TEMPERROR, reason=_FAILED)

    async def _check_dmarc(
        self, header: Header, spf: SpfResult, dkim: Sequence[DkimResult], deadline: float
    ) -> DmarcResult:
        result = await self._bounded(Dmarc(self._resolver).evaluate(header, spf, dkim), deadline, "dmarc")
        if isinstance(result, str):
            return DmarcResult(Result.TEMPERROR, author_domain(header) or "", reason=result)
        return result

    def _report(self, spf: SpfResult, dkim: Sequence[DkimResult], dmarc: DmarcResult) -> AuthResults:
        methods = [_spf_method(spf), *map(_dkim_method, dkim), _dmarc_method(dmarc)]
        if not dkim:
            methods.insert(1, Method("dkim", "none"))
        words = [str(result.result) for result in dkim] or ["none"]
        best = "pass" if "pass" in words else words[0]
        summary = f"spf={spf.result} dkim={best} dmarc={dmarc.result}"
        return AuthResults(compose_authres(self._hostname, methods), summary, spf, tuple(dkim), dmarc)


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


def _spf_method(spf: SpfResult) -> Method:
    properties = [(f"smtp.{spf.identity}", spf.sender)] if spf.sender else []
    return Method("spf", spf.result, properties, comment=spf.reason)


def _dkim_method(dkim: DkimResult) -> Method:
    pairs = (
        ("header.d", dkim.domain),
        ("header.s", dkim.selector),
        ("header.a", dkim.algorithm),
        ("header.b", dkim.signature),
    )
    notes = [dkim.reason] if dkim.reason else []
    if dkim.body_limited:
        notes.append("only a part of the body is signed")
    if dkim.testing:
        notes.append("test key")
    return Method("dkim", dkim.result, [pair for pair in pairs if pair[1]], comment=", ".join(notes))


def _dmarc_method(dmarc: DmarcResult) -> Method:
    comment = f"p={dmarc.policy}" if dmarc.policy else dmarc.reason
    properties = [("header.from", dmarc.domain)] if dmarc.domain else []
    return Method("dmarc", dmarc.result, properties, comment=comment)
