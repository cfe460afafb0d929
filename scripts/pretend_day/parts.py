"""What the pretend day is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random

import honest
import unwanted
from world import World

PARTS: Sequence[tuple[Callable[[World, int], None], float]] = (
    (honest.known, 0.30), (honest.moved, 0.02), (honest.newsletters, 0.15), (honest.first_timers, 0.08),
    (honest.newcomer, 0.01), (honest.login_codes, 0.02), (honest.pools, 0.03), (honest.lists, 0.06),
    (honest.forwarded, 0.03), (honest.reports, 0.02), (unwanted.bots, 0.12), (unwanted.snowshoe, 0.04),
    (unwanted.mimics, 0.03), (unwanted.forged, 0.04), (unwanted.viruses, 0.01), (unwanted.dictionary, 0.04),
)  # fmt: skip
"""In parts of the whole."""


def build(dice: Random, day: datetime, count: int) -> World:
    """A day with about so many messages, and the two weeks before it."""
    world = World(dice, day)
    for part, share in PARTS:
        part(world, max(1, round(count * share)))
    for number, each in enumerate(world.deliveries):
        if number % 40 == 0:
            world.confuse(each.sources[0])
    world.deliveries.sort(key=lambda each: each.at)
    world.earlier.sort(key=lambda each: each.at)
    return world
