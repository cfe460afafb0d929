"""DNS lists of addresses, read strictly (RFC 5782): an answer counts only when the configuration names it.

Each list is put to the test at the first use and daily: 127.0.0.2 must be listed, 127.0.0.1 must not. A list that fails, or that
answers anything undocumented (127.255.255.x is how several say "you may not ask"), is switched off for an hour, told in the
log, the metrics and the health report, and tested before it is asked again. A list that is silent costs its own score only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.schema import DnsList, ListAnswer
from mailbox_app.errors import ResolveError
from mailbox_app.net.resolver import Resolver
from mailbox_app.observe.metrics import Metrics

LOOK_SECONDS = 4.0
"""For one list; less than the stage has, so that one silent list does not cost the others' answers."""
OFF_SECONDS = 3_600.0
TEST_SECONDS = 86_400.0
UNTESTED_SECONDS = 60.0
"""A list that could not be tested is not asked and tried again after this."""
MAX_LISTS = 20
_MAX_ANSWERS = 32
ADDRESS_TEST = ("2.0.0.127", "1.0.0.127")
DOMAIN_TEST = ("test", "invalid")
"""The names that must and must not be listed. RFC 5782 5."""
_ERROR_PREFIX = "127.255."
"""No list documents these as a listing: they say that the question was not welcome."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One list's documented answer about an address; of several the one with the highest score in amount."""

    zone: str
    answer: str
    meaning: str
    score: float


@dataclass(slots=True)
class _List:
    """One list and what became of it."""

    zone: str
    config: DnsList
    patterns: Sequence[tuple[re.Pattern[str], ListAnswer]]
    tested_at: float = float("-inf")
    off_until: float = float("-inf")
    is_off: bool = False
    running: asyncio.Task[bool] | None = field(default=None, repr=False)


class DnsLists:
    """The lists of one kind in one process."""

    def __init__(
        self, resolver: Resolver, clock: Clock, metrics: Metrics, test_points: tuple[str, str] = ADDRESS_TEST
    ) -> None:
        self._test_points = test_points
        self._resolver = resolver
        self._clock = clock
        self._metrics = metrics
        self._config: Mapping[str, DnsList] = {}
        self._lists: Sequence[_List] = ()
        self._log = structlog.get_logger("dns_lists")

    def configure(self, lists: Mapping[str, DnsList]) -> None:
        """Use these lists from now on; what is known about those that stay is kept."""
        if lists is self._config:
            return
        if len(lists) > MAX_LISTS:
            self._log.error("too_many_dns_lists", asked=MAX_LISTS, configured=len(lists))
        kept = {each.zone: each for each in self._lists if each.config == lists.get(each.zone)}
        for gone in {each.zone for each in self._lists} - set(lists):
            self._metrics.dns_list_off.labels(gone).set(0)
        self._lists = [
            kept.get(zone) or _List(zone, each, [(_pattern(code), answer) for code, answer in each.answers.items()])
            for zone, each in list(lists.items())[:MAX_LISTS]
        ]
        self._config = lists

    async def look(self, remote_ip: str) -> Sequence[Listing]:
        """What the lists say about an address; those that are off, untested or late say nothing."""
        if not self._lists or (reversed_name := reversed_address(remote_ip)) is None:
            return ()
        is_ipv6 = reversed_name.count(".") != 3
        asked = [each for each in self._lists if each.config.ipv6 or not is_ipv6]
        found = await asyncio.gather(*(self._ask(each, reversed_name) for each in asked))
        return [each for each in found if each is not None]

    async def look_name(self, name: str) -> Sequence[Listing]:
        """What lists of domains say about a name."""
        found = await asyncio.gather(*(self._ask(each, name) for each in self._lists))
        return [each for each in found if each is not None]

    async def _ask(self, each: _List, reversed_name: str) -> Listing | None:
        now = self._clock.monotonic_seconds()
        if each.off_until > now:
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                if now - each.tested_at > TEST_SECONDS and not await self._tested(each):
                    return None
                answer = await self._resolver.query(f"{reversed_name}.{each.zone}", "A")
        except (ResolveError, TimeoutError):
            self._metrics.dns_list_answers.labels(each.zone, "no_answer").inc()
            return None
        if not answer.records:
            self._metrics.dns_list_answers.labels(each.zone, "not_listed").inc()
            return None
        return self._read(each, answer.records)

    def _read(self, each: _List, records: Sequence[str]) -> Listing | None:
        """The strongest documented answer; one undocumented answer makes all of them worthless."""
        best: Listing | None = None
        for record in records[:_MAX_ANSWERS]:
            answer = documented(each.patterns, record)
            if answer is None:
                self._switch_off(each, f"answered {record[:40]}, which its documentation does not name")
                return None
            if best is None or abs(answer.score) > abs(best.score):
                best = Listing(each.zone, record, answer.meaning, answer.score)
        self._metrics.dns_list_answers.labels(each.zone, "listed").inc()
        return best

    async def _tested(self, each: _List) -> bool:
        """Whether the list works; equal tests at the same time are one, and outlive whoever waits for them."""
        if each.running is None:
            each.running = asyncio.get_running_loop().create_task(self._test(each))
            each.running.add_done_callback(lambda _: setattr(each, "running", None))
        return await asyncio.shield(each.running)

    async def _test(self, each: _List) -> bool:
        """RFC 5782 5: 127.0.0.2 (TEST) is listed in every working list, 127.0.0.1 (INVALID) in none."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                positive, negative = await asyncio.gather(
                    *(self._resolver.query(f"{point}.{each.zone}", "A") for point in self._test_points)
                )
        except (ResolveError, TimeoutError):
            each.off_until = self._clock.monotonic_seconds() + UNTESTED_SECONDS
            self._log.warning("dns_list_untested", zone=each.zone)
            return False
        shown = ("127.0.0.2", "127.0.0.1") if self._test_points == ADDRESS_TEST else self._test_points
        if negative.records:
            self._switch_off(each, f"lists {shown[1]}, so it would list everybody")
            return False
        if not positive.records:
            self._switch_off(each, f"does not list {shown[0]}, so it would list nobody")
            return False
        if wrong := [record for record in positive.records if not record.startswith("127.") or _is_error(record)]:
            self._switch_off(each, f"answered {wrong[0][:40]} for {shown[0]}")
            return False
        if each.is_off:
            self._log.info("dns_list_on", zone=each.zone)
        each.is_off = False
        self._metrics.dns_list_off.labels(each.zone).set(0)
        each.tested_at = self._clock.monotonic_seconds()
        return True

    def _switch_off(self, each: _List, why: str) -> None:
        each.off_until = self._clock.monotonic_seconds() + OFF_SECONDS
        each.tested_at = float("-inf")
        each.is_off = True
        self._metrics.dns_list_off.labels(each.zone).set(1)
        self._metrics.dns_list_answers.labels(each.zone, "wrong").inc()
        self._log.error("dns_list_switched_off", zone=each.zone, why=why, seconds=OFF_SECONDS)


def reversed_address(remote_ip: str) -> str | None:
    """The octets (IPv4) or nibbles (IPv6) backwards, as lists are asked (RFC 5782 2.1 and 2.4); None for no address."""
    try:
        address = ipaddress.ip_address(remote_ip.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


def documented(patterns: Sequence[tuple[re.Pattern[str], ListAnswer]], record: str) -> ListAnswer | None:
    """What an answer means; None when nobody says."""
    if _is_error(record):
        return None
    return next((answer for pattern, answer in patterns if pattern.fullmatch(record)), None)


def _is_error(record: str) -> bool:
    return record.startswith(_ERROR_PREFIX)


def _pattern(code: str) -> re.Pattern[str]:
    """`127.0.*.1` or `127.0.0.4-7` as an expression."""
    octets = []
    for octet in code.split("."):
        first, dash, last = octet.partition("-")
        if octet == "*":
            octets.append(r"\d{1,3}")
        elif dash:
            octets.append(f"(?:{'|'.join(map(str, range(int(first), min(int(last), 255) + 1)))})")
        else:
            octets.append(str(int(octet)))
    return re.compile(r"\.".join(octets))
