"""How fast mail may go to a destination: connections at once, messages in a minute, volumes of a new address.

A destination is a recipient domain; domains whose mail servers belong to one organisation share that provider's pace, once a
delivery has shown which it is (`admit`). A provider that says "too many" gets half the connections, and one more every two minutes
after that. Counts are those of `policy.state.rates`: shared by all processes and nodes that share them. Nothing here blocks.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Delivery
from mailbox_app.mailqueue.destinations.warm_up import WarmUpPlan
from mailbox_app.mailqueue.model import Priority

_MINUTE, _DAY = 60, 86_400
_EASE_SECONDS = 120.0
"""One connection more after so long without a complaint."""
_QUIET_SECONDS = 60.0
"""Nothing at all after a complaint about a single connection."""
_BUSY_SECONDS = 5.0
_SYNC_SECONDS = 2.0
_BULK_SHARE = 0.8
_MAX_PROVIDERS = 5_000
_MAX_NAMED = 200
"""Destinations of one provider that a claim is told of, the latest."""

_TOO_FAST = re.compile(
    r"too (?:many|fast|quick)|rate.?limit|throttl|concurren|slow down|unusual rate|connection limit|\bbusy\b"
    r"|(?:exceed|maximum|limit)\w* .{0,40}(?:rate|connection|session|per (?:minute|hour))",
    re.IGNORECASE,
)
_NOT_PACE = re.compile(r"gr[ea]y.?list|recipients|mailbox|quota", re.IGNORECASE)


class Counts(Protocol):
    """Counts per key over a sliding window, like `policy.state.rates.Rates`."""

    def count(self, key: str, window_seconds: int, amount: int = 1) -> int:
        """Add to a key's count; what it came to within the window, this included."""
        ...

    def sync(self) -> None:
        """Tell the other processes and hear from them. Blocks."""
        ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now: until when, and a sentence without a full stop."""

    until: datetime
    sentence: str
    gap_seconds: float
    """Between the messages that wait."""
    most_seconds: float = 60.0
    """After `until` for the last of them."""


@dataclass(slots=True)
class _Provider:
    """What is known of one provider."""

    running: int = 0
    allowed: int = 0
    """Connections after the last complaint; 0: none was heard."""
    complained_seconds: float = 0.0
    complaint: str = ""
    destinations: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Pace:
    """For all deliveries of one process; belongs to its loop."""

    def __init__(self, config: Callable[[], Delivery], counts: Counts, clock: Clock, warm_up: WarmUpPlan) -> None:
        self._config = config
        self._counts = counts
        self._clock = clock
        self._warm_up = warm_up
        self._providers: OrderedDict[str, _Provider] = OrderedDict()
        self._claim_bound = config().connections
        """What claims are made with; the runner keeps it until a restart."""
        self._synced_seconds = float("-inf")
        self._limited: dict[str, None] = {}
        """Providers that complained lately."""

    def claim_counts(self, running: Mapping[str, int]) -> dict[str, int]:
        """The running deliveries as a claim with the usual bound must see them to keep each destination's own bound."""
        usual = self._claim_bound
        counts = dict(running)
        for name, own in self._config().destinations.items():
            if own.connections:
                counts[name] = running.get(name, 0) + usual - own.connections
        for provider in list(self._limited):
            if (bound := self._left(provider)) is None:
                del self._limited[provider]
                continue
            known = self._providers[provider]
            free = max(0, bound - known.running)
            for destination in known.destinations:
                counts[destination] = max(counts.get(destination, 0), usual - free)
        return counts

    def is_stale(self) -> bool:
        """Whether `sync` should be called (in a thread): counts matter here, and it is a while ago."""
        config, now = self._config(), self._clock.monotonic_seconds()
        if not (config.destinations or self._warm_up.begins_at) or now < self._synced_seconds + _SYNC_SECONDS:
            return False
        self._synced_seconds = now
        return True

    def sync(self) -> None:
        """Share the counts with the other processes."""
        self._counts.sync()

    def again(self, provider: str) -> None:
        """A message that was let in goes on to another host of the same provider: one more visit, not one more message.

        What the first host said about the pace does not keep it from the next. RFC 5321 5.1. `ended` follows.
        """
        self._of(provider).running += 1

    def admit(self, destination: str, provider: str, priority: Priority) -> Wait | None:
        """Whether a message may go to a host of this provider now; when it may, it is counted and `ended` follows."""
        self._note_destination(provider, destination)
        if (wait := self._busy(destination, provider)) is not None:
            return wait
        rules = [(name, limit) for name in dict.fromkeys((destination, provider)) if (limit := self._per_minute(name))]
        for name, limit in rules:
            if self._counts.count(f"out:{name}", _MINUTE, 0) >= _share(limit, priority):
                gap = 60 / limit
                return self._wait(2 * gap, f"{name} gets {limit} messages in a minute, as configured", gap, 3600)
        volume = 0 if priority is Priority.REPORT else self._warm_up.volume(self._clock.now())
        if volume and self._counts.count(f"warm:{provider}", _DAY, 0) >= _share(volume, priority):
            sentence = f"this server's address is new, so {provider} gets {volume} messages today (warm-up)"
            return self._wait(1800, sentence, _DAY / volume, 6 * 3600)
        for name, _ in rules:
            self._counts.count(f"out:{name}", _MINUTE)
        if volume:
            self._counts.count(f"warm:{provider}", _DAY)
        self._of(provider).running += 1
        return None

    def ended(self, provider: str) -> None:
        """What `admit` let through is over."""
        known = self._of(provider)
        known.running = max(0, known.running - 1)

    def heard(self, provider: str, code: int, enhanced: str, text: str) -> None:
        """A temporary answer of the provider: it may be about our pace."""
        if not is_complaint(code, enhanced, text):
            return
        known = self._of(provider)
        now = self._clock.monotonic_seconds()
        if known.allowed and now < known.complained_seconds + 1.0:
            return  # of the same burst
        bound = min(self._bound(provider), max(known.running, 1))
        known.allowed = max(1, bound // 2)
        known.complained_seconds = now
        known.complaint = text[:60]
        self._limited[provider] = None

    def _busy(self, destination: str, provider: str) -> Wait | None:
        known = self._of(provider)
        if known.allowed:
            since = self._clock.monotonic_seconds() - known.complained_seconds
            said = f'{provider} said "{known.complaint}"'
            if known.allowed == 1 and since < _QUIET_SECONDS:
                return self._wait(_QUIET_SECONDS - since, f"{said}, so it gets nothing for a minute", 1.0)
            bound = self._bound(provider)
            if self._left(provider) is not None and known.running >= bound:
                return self._wait(_BUSY_SECONDS, f"{said}, so it gets {bound} at once for now", 1.0)
        own = self._config().destinations.get(provider)
        if own is not None and own.connections and known.running >= own.connections:
            return self._wait(_BUSY_SECONDS, f"{provider} gets {own.connections} messages at once, as configured", 1.0)
        return None

    def _left(self, provider: str) -> int | None:
        """The bound of a provider that complained; None: there is none (any more)."""
        bound = self._bound(provider)
        return bound if self._providers[provider].allowed and bound < self._usual(provider) else None

    def _bound(self, provider: str) -> int:
        known = self._of(provider)
        if not known.allowed:
            return self._usual(provider)
        eased = int((self._clock.monotonic_seconds() - known.complained_seconds) / _EASE_SECONDS)
        if known.allowed + eased >= self._usual(provider):
            known.allowed = 0
            return self._usual(provider)
        return known.allowed + eased

    def _usual(self, provider: str) -> int:
        own = self._config().destinations.get(provider)
        return (own.connections if own is not None else 0) or 2 * self._config().connections

    def _per_minute(self, name: str) -> int:
        own = self._config().destinations.get(name)
        return own.per_minute if own is not None else 0

    def _wait(self, seconds: float, sentence: str, gap_seconds: float, most_seconds: float = 60.0) -> Wait:
        until = self._clock.now() + timedelta(seconds=max(1.0, seconds))
        return Wait(until, sentence, gap_seconds, most_seconds)

    def _note_destination(self, provider: str, destination: str) -> None:
        destinations = self._of(provider).destinations
        destinations[destination] = None
        destinations.move_to_end(destination)
        if len(destinations) > _MAX_NAMED:
            destinations.popitem(last=False)

    def _of(self, provider: str) -> _Provider:
        known = self._providers.get(provider)
        if known is None:
            known = self._providers[provider] = _Provider()
            if len(self._providers) > _MAX_PROVIDERS:
                idle = next(
                    (name for name, each in self._providers.items() if not each.running and name != provider), ""
                )
                self._providers.pop(idle, None)
                self._limited.pop(idle, None)
        return known


def is_complaint(code: int, enhanced: str, text: str) -> bool:
    """Whether an answer says that we come too often or with too many connections."""
    if code // 100 != 4 or enhanced.startswith(("4.2.", "4.5.3")) or _NOT_PACE.search(text):
        return False
    return enhanced in ("4.4.5", "4.7.28") or bool(_TOO_FAST.search(text))


def _share(limit: int, priority: Priority) -> int:
    """What is left for others when bulk mail stops."""
    return max(1, int(limit * _BULK_SHARE)) if priority is Priority.BULK else limit


def parse_day(text: str) -> datetime:
    """Midnight UTC of "2026-03-01"."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
