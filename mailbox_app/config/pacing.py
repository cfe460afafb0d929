"""The parts of the delivery section about how fast mail leaves; `schema.py` puts them into it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from mailbox_app.config.section import Section


class Destination(Section, frozen=True):
    """One destination's pace."""

    connections: Annotated[int, Meta(ge=0, le=100)] = 0
    per_minute: Annotated[int, Meta(ge=0, le=100_000)] = 0


class WarmUp(Section, frozen=True):
    """Growing volumes for an address that is new to the large providers, who distrust sudden mail from nowhere."""

    start: Annotated[str, Meta(pattern=r"^(auto|\d{4}-\d{2}-\d{2})?$")] = ""
    """The first day, like "2026-03-01", or "auto": the day on which the addresses in `sources` were first seen here. "": no
    warm-up."""
    volumes: list[Annotated[int, Meta(ge=1, le=10_000_000)]] = field(
        default_factory=lambda: [50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800]
    )
    """Messages to one provider (all domains whose mail servers are the same organisation's) on the first, second, ... day; then
    there is no bound. Bulk mail gets four fifths of it at most, so that a person's mail does not wait for it."""
