"""How the routes do: when mail last left by each, what went wrong last, refused logins; and the pace of those that have a rate.

Kept in memory since the start, one row per route; the routes come from the configuration, so there are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mailbox_app.clock import Clock
from mailbox_app.observe.metrics import Metrics
from mailbox_app.outbound.routes.choosing import Route

_MAX_ROUTES = 1000
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 900.0
"""After refused logins: a wrong password tried with every message locks accounts."""
_BURST_SECONDS = 10.0
"""So much of a rate may go at once after a rest."""


@dataclass(slots=True)
class RouteState:
    """One route since the start of the daemon."""

    used_count: int = 0
    """Transactions held over it."""
    failed_count: int = 0
    """Hosts of it that were of no use."""
    refused_logins: int = 0
    refusals_in_a_row: int = 0
    next_login_seconds: float = 0.0
    """On the monotonic clock: no login before this."""
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure: str = ""


class RouteStates:
    """By route name."""

    def __init__(self, clock: Clock, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics
        self._states: dict[str, RouteState] = {}
        self._next_at: dict[str, float] = {}

    def state(self, name: str) -> RouteState:
        """As it is; empty for a route not used yet."""
        return self._states.get(name) or RouteState()

    def used(self, name: str) -> None:
        """A host of the route took part in a transaction."""
        state = self._own(name)
        state.used_count += 1
        state.last_success_at = self._clock.now()

    def failed(self, name: str, text: str) -> None:
        """A host of it was of no use."""
        state = self._own(name)
        state.failed_count += 1
        state.last_failure_at = self._clock.now()
        state.last_failure = text

    def login_refused(self, name: str) -> None:
        """A host of it did not take the login."""
        state = self._own(name)
        state.refused_logins += 1
        state.refusals_in_a_row += 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(state.refusals_in_a_row - 1, 10), _LONGEST_PAUSE_SECONDS)
        state.next_login_seconds = self._clock.monotonic_seconds() + pause
        if self._metrics is not None:
            self._metrics.route_logins_refused.labels(name).inc()

    def login_taken(self, name: str) -> None:
        """A host of it let us in."""
        state = self._own(name)
        state.refusals_in_a_row, state.next_login_seconds = 0, 0.0

    def forget_refusals(self) -> None:
        """The configuration changed: perhaps the login, too."""
        for name in self._states:
            self.login_taken(name)

    def seconds_to_login(self, name: str) -> float:
        """How long to leave the hosts of a route alone after a refused login; 0.0: not at all."""
        return max(self.state(name).next_login_seconds - self._clock.monotonic_seconds(), 0.0)

    def seconds_to_wait(self, route: Route) -> float:
        """0.0 and one message counted, or how long until the route's rate lets one go."""
        if not route.rate:
            return 0.0
        gap, now = 60.0 / route.rate, self._clock.monotonic_seconds()
        earliest = max(self._next_at.get(route.name, 0.0), now - max(_BURST_SECONDS, gap))
        if earliest + gap > now + 1e-9 and route.name in self._next_at:
            return earliest + gap - now
        self._next_at[route.name] = earliest + gap if route.name in self._next_at else now
        return 0.0

    def _own(self, name: str) -> RouteState:
        if name not in self._states and len(self._states) >= _MAX_ROUTES:  # of configurations long gone
            self._states.clear()
        return self._states.setdefault(name, RouteState())
