"""Names to answers: the one way this server asks DNS.

`Resolver` is the seam; `DnsResolver` asks recursive servers over UDP, over TCP when an answer was cut, under one deadline per
question. Answers are kept for their TTL, absent names by their SOA minimum, failures for half a minute; equal questions
asked at the same time travel once, and only so many travel at the same time. A name that does not exist is an answer; only
"could not find out" is a `ResolveError`. When no server answers at all, not even for the root, questions fail at once for
a few seconds, so an unreachable DNS does not cost each message the whole deadline; strangers whose own name
servers are dead bring that about for nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.txtbase
import dns.resolver

from mailbox_app.clock import Clock
from mailbox_app.errors import ResolveError

_TTL_FLOOR_SECONDS = 5.0
_TTL_CEILING_SECONDS = 86_400.0
_NEGATIVE_CEILING_SECONDS = 3_600.0
_NEGATIVE_DEFAULT_SECONDS = 60.0
"""For absent names whose answer carries no SOA."""
_FAILURE_SECONDS = 30.0
_CACHE_ENTRIES = 10_000
_CACHE_CHARACTERS = 16_777_216
"""Of all kept answers together: a stranger chooses which names are asked, and how long the answers are."""
_ENTRY_CHARACTERS = 200
"""What an answer takes beside its records."""
_ANSWER_BYTES = 16_384
"""A longer answer is none: no honest one is, and taking 64 KB apart holds up everybody for a tenth of a second."""
_FIRST_TRY_SECONDS = 1.5
"""A lost datagram is asked again after this long; the wait doubles."""
_SILENT_QUESTIONS = 3
_SILENCE_SECONDS = 5.0
_MAX_TRAVELLING = 256
"""Each holds a socket. More wait for their turn within their deadline."""
_PAYLOAD_BYTES = 1232
"""The EDNS size that is never fragmented (DNS flag day 2020)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What DNS said about one name and type."""

    records: Sequence[str] = ()
    """In presentation form; TXT: the joined strings, one character per octet; MX: "10 host."."""
    authenticated: bool = False
    """A validating server said so (AD), and the way to it is trusted."""
    exists: bool = True
    """False: there is no such name (NXDOMAIN)."""
    canonical: str = ""
    """Where aliases led, in lower case; "" when the name is no alias."""


class Resolver(Protocol):
    """Asks DNS."""

    async def query(self, name: str, rdtype: str) -> Answer:
        """The records of `name`; aliases are followed. Raises `ResolveError` when no answer could be had."""
        ...


async def lookup_addresses(resolver: Resolver, name: str) -> Sequence[str]:
    """IPv4 and IPv6 addresses of a name, the families alternating, IPv4 first; empty when it has none.

    One family that answers is enough; `ResolveError` when nothing is known and one family could not be asked.
    """
    results: Sequence[Answer | BaseException]
    if isinstance(resolver, DnsResolver) and (known := resolver.known(name, ("A", "AAAA"))) is not None:
        results = known  # no task for what needs no question: mail out comes here for each message
    else:
        results = await asyncio.gather(resolver.query(name, "A"), resolver.query(name, "AAAA"), return_exceptions=True)
    failure: ResolveError | None = None
    families: list[Sequence[str]] = []
    for result in results:
        if isinstance(result, ResolveError):
            failure = result
        elif isinstance(result, BaseException):
            raise result
        else:
            families.append(result.records)
    found = [address for addresses in families for address in addresses]
    if failure is not None and not found:
        raise failure
    if len(families) == 2:
        longest = max(map(len, families))
        found = [family[place] for place in range(longest) for family in families if place < len(family)]
    return found


@dataclass(frozen=True, slots=True)
class _Server:
    address: str
    port: int


_Key = tuple[str, str]


class DnsResolver:
    """The resolver over dnspython. `servers` are "address", "address:port" or "[v6]:port"; none: those of the system."""

    def __init__(
        self, servers: Sequence[str], timeout_seconds: float, clock: Clock, *, trusts_ad: bool | None = None
    ) -> None:
        """`trusts_ad`: whether the servers' AD bit is believed; None: when all of them are on this machine. RFC 7672 2.1.1"""
        self._servers = [_parse_server(text) for text in servers] or _system_servers()
        local = all(ipaddress.ip_address(one.address).is_loopback for one in self._servers)
        self.trusts_ad = local if trusts_ad is None else trusts_ad
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._cache: OrderedDict[_Key, tuple[float, Answer | None]] = OrderedDict()
        self._cache_characters = 0
        self._running: dict[_Key, asyncio.Task[Answer]] = {}
        self._best = 0
        self._silent = 0
        self._silent_until = 0.0
        self._turns = asyncio.Semaphore(_MAX_TRAVELLING)

    def known(self, name: str, rdtypes: Sequence[str]) -> Sequence[Answer] | None:
        """The answers to all of these questions as far as they are kept; None when one must be asked or is known to fail."""
        found: list[Answer] = []
        for rdtype in rdtypes:
            try:
                answer = self._cached((name.lower().rstrip("."), rdtype))
            except ResolveError:
                return None
            if answer is None:
                return None
            found.append(answer)
        return found

    async def query(self, name: str, rdtype: str) -> Answer:
        """The records of `name`; aliases are followed."""
        key = (name.lower().rstrip("."), rdtype.upper())
        cached = self._cached(key)
        if cached is not None:
            return cached
        try:
            question = dns.name.from_text(key[0])
        except (dns.exception.DNSException, UnicodeError):
            return Answer(exists=False)
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(key, question))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)  # one caller that gives up does not take the answer from the others

    def _cached(self, key: _Key) -> Answer | None:
        entry = self._cache.get(key)
        if entry is None:
            return None
        until, answer = entry
        if until <= self._clock.monotonic_seconds():
            del self._cache[key]
            self._cache_characters -= _size(answer)
            return None
        self._cache.move_to_end(key)
        if answer is None:
            raise _failure(key, "did not answer a moment ago")
        return answer

    def _keep(self, key: _Key, answer: Answer | None, seconds: float) -> None:
        if (old := self._cache.pop(key, None)) is not None:
            self._cache_characters -= _size(old[1])
        self._cache[key] = (self._clock.monotonic_seconds() + seconds, answer)
        self._cache_characters += _size(answer)
        while len(self._cache) > _CACHE_ENTRIES or self._cache_characters > _CACHE_CHARACTERS:
            _, (_, oldest) = self._cache.popitem(last=False)
            self._cache_characters -= _size(oldest)

    def _finished(self, key: _Key, task: asyncio.Task[Answer]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # every caller may have gone; the failure is in the cache

    async def _fetch(self, key: _Key, question: dns.name.Name) -> Answer:
        self._fail_in_silence(key)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise _failure(key, "too many questions are open") from error
        try:
            self._fail_in_silence(key)
            return await self._travel(key, question)
        finally:
            self._turns.release()

    def _fail_in_silence(self, key: _Key) -> None:
        if self._clock.monotonic_seconds() < self._silent_until:
            raise _failure(key, "no DNS server answers")

    async def _travel(self, key: _Key, question: dns.name.Name) -> Answer:
        try:
            response = await self._ask(key, question)
            answer, seconds = _read(response, key[1], trusts_ad=self.trusts_ad)
        except ResolveError:
            self._keep(key, None, _FAILURE_SECONDS)
            raise
        except (dns.exception.DNSException, ValueError) as error:
            self._keep(key, None, _FAILURE_SECONDS)
            raise _failure(key, "the answer is malformed") from error
        self._keep(key, answer, seconds)
        return answer

    async def _ask(self, key: _Key, question: dns.name.Name) -> dns.message.Message:
        """The first useful response of any server before the deadline."""
        query = dns.message.make_query(question, key[1], use_edns=0, payload=_PAYLOAD_BYTES)
        query.flags |= dns.flags.AD  # RFC 6840 5.7: asks for the AD bit without the signatures
        refused: set[int] = set()
        wait = _FIRST_TRY_SECONDS
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                while len(refused) < len(self._servers):
                    for number in self._order():
                        if number in refused:
                            continue
                        response, answered = await _exchange(query, self._servers[number], wait)
                        if response is not None:
                            self._best, self._silent = number, 0
                            return response
                        if answered:
                            refused.add(number)
                    wait *= 2
        if refused or not self._servers:
            self._silent = 0
            raise _failure(key, "the DNS servers refused or failed")
        self._silent += 1
        if self._silent >= _SILENT_QUESTIONS:
            if await self._anyone_answers():
                self._silent = 0
            else:
                self._silent_until = self._clock.monotonic_seconds() + _SILENCE_SECONDS
        raise _failure(key, "no DNS server answered in time")

    async def _anyone_answers(self) -> bool:
        """Whether a server says anything about the root, which each has at hand."""
        query = dns.message.make_query(dns.name.root, "NS", use_edns=0, payload=_PAYLOAD_BYTES)
        wait = min(_FIRST_TRY_SECONDS, self._timeout_seconds)
        answers = await asyncio.gather(*(_exchange(query, server, wait) for server in self._servers))
        return any(answered for _, answered in answers)

    def _order(self) -> list[int]:
        numbers = list(range(len(self._servers)))
        return numbers[self._best :] + numbers[: self._best]


async def _exchange(
    query: dns.message.Message, server: _Server, timeout_seconds: float
) -> tuple[dns.message.Message | None, bool]:
    """(useful response or None, whether the server gave any answer)."""
    try:
        response = await dns.asyncquery.udp(
            query,
            server.address,
            timeout_seconds,
            server.port,
            ignore_unexpected=True,
            raise_on_truncation=True,
            ignore_errors=True,
        )
    except dns.exception.Timeout:
        return None, False
    except dns.message.Truncated:
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await _over_tcp(query, server)
        except TimeoutError:
            return None, False
        except (dns.exception.DNSException, OSError, EOFError):
            return None, True
    except (dns.exception.DNSException, OSError, EOFError):
        return None, True
    if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return response, True
    return None, True


async def _over_tcp(query: dns.message.Message, server: _Server) -> dns.message.Message:
    """One question over a connection of its own. RFC 1035 4.2.2. dnspython's own way would read whatever length is sent."""
    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        wire = query.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await reader.readexactly(2), "big")
        if length > _ANSWER_BYTES:
            raise EOFError(f"an answer of {length} bytes is not read")
        response = dns.message.from_wire(await reader.readexactly(length))
        if not query.is_response(response):
            raise EOFError("the answer is to another question")
        return response
    finally:
        writer.transport.abort()


def _size(answer: Answer | None) -> int:
    return _ENTRY_CHARACTERS + (0 if answer is None else sum(map(len, answer.records)) + 60 * len(answer.records))


def _read(response: dns.message.Message, rdtype: str, *, trusts_ad: bool) -> tuple[Answer, float]:
    """The answer and for how many seconds it may be kept."""
    assert isinstance(response, dns.message.QueryMessage)
    authenticated = trusts_ad and bool(response.flags & dns.flags.AD)
    chain = response.resolve_chaining()
    if chain.answer is None:
        seconds: float = chain.minimum_ttl
        if not any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority):
            seconds = _NEGATIVE_DEFAULT_SECONDS
        exists = response.rcode() != dns.rcode.NXDOMAIN
        return Answer((), authenticated, exists), _bounded(seconds, _NEGATIVE_CEILING_SECONDS)
    records = tuple(_present(rdata) for rdata in chain.answer)
    canonical = "" if not chain.cnames else chain.canonical_name.to_text(omit_final_dot=True).lower()
    return Answer(records, authenticated, canonical=canonical), _bounded(chain.minimum_ttl, _TTL_CEILING_SECONDS)


def _present(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, dns.rdtypes.txtbase.TXTBase):
        return b"".join(rdata.strings).decode("latin-1")
    return rdata.to_text()


def _bounded(seconds: float, ceiling: float) -> float:
    return min(max(seconds, _TTL_FLOOR_SECONDS), ceiling)


def _failure(key: _Key, why: str) -> ResolveError:
    return ResolveError(
        "dns.failed", f"DNS lookup failed: {why}", temporary=True, fields={"name": key[0], "rdtype": key[1]}
    )


def _parse_server(text: str) -> _Server:
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return _Server(str(ipaddress.ip_address(address)), int(port.lstrip(":") or 53))
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return _Server(str(ipaddress.ip_address(address)), int(port))
    return _Server(str(ipaddress.ip_address(text)), 53)


def _system_servers() -> list[_Server]:
    try:
        system = dns.resolver.Resolver(configure=True)
    except dns.resolver.NoResolverConfiguration:
        return []
    return [_Server(str(server), system.port) for server in system.nameservers]
