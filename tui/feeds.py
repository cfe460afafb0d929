"""What the console follows: `health` always, and the topics of the visible screen only.

Leaving a screen or pausing stops its topics, so a console nobody looks at costs the daemon nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
        self.paused = False

    def always(self, topic: str, on_state: Callable[[dict[str, Any]], None]) -> None:
        """Follow a topic for the console's whole life."""
        self._client.subscribe(topic, on_state)

    def show(self, wants: Sequence[Want]) -> None:
        """Follow exactly these; what stays the same is not opened again."""
        self._wants = wants
        self._apply(() if self.paused else wants)

    def pause(self, *, paused: bool) -> None:
        """Stop or go on with the visible screen's topics."""
        self.paused = paused
        self._apply(() if paused else self._wants)

    def _apply(self, wants: Sequence[Want]) -> None:
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
