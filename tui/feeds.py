"""What the console follows: `health` always, and the topics of the visible screen only.

Leaving a screen, pausing, or a terminal nobody looks at stops its topics; a slow line lowers their rate. So a console costs the
daemon and the line only what somebody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tui.client import Client, Subscription


@dataclass(frozen=True, slots=True)
class Want:
    """One topic a screen needs while it is visible."""

    topic: str
    on_state: Callable[[dict[str, Any]], None]
    args: dict[str, Any] = field(default_factory=dict)
    max_hz: float = 1.0
    generation: int = 0
    """Another number opens the topic anew: its first state is then newer than anything fetched before."""


class Feeds:
    """Keeps the subscriptions equal to what is wanted now."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: list[tuple[Want, Subscription]] = []
        self._wants: Sequence[Want] = ()
        self._most_hz = float("inf")
        self.paused = False
        """The operator stopped live data."""
        self.stopped: set[str] = set()
        """Why the console stopped it by itself, in words for the title row."""

    @property
    def live(self) -> bool:
        """Nothing keeps the topics from coming."""
        return not self.paused and not self.stopped

    def always(self, topic: str, on_state: Callable[[dict[str, Any]], None]) -> None:
        """Follow a topic for the console's whole life."""
        self._client.subscribe(topic, on_state)

    def show(self, wants: Sequence[Want]) -> None:
        """Follow exactly these; what stays the same is not opened again."""
        self._wants = wants
        self._apply()

    def pause(self, *, paused: bool) -> None:
        """Stop or go on with the visible screen's topics."""
        self.paused = paused
        self._apply()

    def stop(self, reason: str) -> None:
        """Stop the topics until `resume` with the same reason."""
        self.stopped.add(reason)
        self._apply()

    def resume(self, reason: str) -> None:
        """This reason is over."""
        self.stopped.discard(reason)
        self._apply()

    def limit(self, most_hz: float) -> None:
        """No topic comes more often than this."""
        self._most_hz = most_hz
        self._apply()

    def _apply(self) -> None:
        wants = [replace(want, max_hz=min(want.max_hz, self._most_hz)) for want in self._wants] if self.live else []
        kept: list[tuple[Want, Subscription]] = []
        for want, subscription in self._open:
            if want in wants:
                kept.append((want, subscription))
            else:
                self._client.unsubscribe(subscription)
        known = [want for want, _ in kept]
        for want in (each for each in wants if each not in known):
            subscription = self._client.subscribe(want.topic, want.on_state, want.args, max_hz=want.max_hz)
            kept.append((want, subscription))
        self._open = kept
