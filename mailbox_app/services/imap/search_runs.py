"""One searching command's run: how much of the result it needs, the steps in threads, word of progress, what comes out."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mailbox_app.proto.imap.search import Key, Returns
from mailbox_app.services.imap.command import Request
from mailbox_app.services.imap.connection import AUTOLOGOUT_SECONDS
from mailbox_app.services.imap.searching import Hits, Places, Search
from mailbox_app.services.imap.selected import Selected

if TYPE_CHECKING:
    from mailbox_app.services.imap.following import Following
    from mailbox_app.services.imap.session import Session

PROGRESS_SECONDS = 5.0
"""RFC 9585 leaves it to the server; a client's patience is a minute or so."""

T = TypeVar("T")
Report = Callable[[int, int], None]
"""(done, of how many): called after each step of a search."""


@dataclass(slots=True)
class Found:
    """A result in mailbox order."""

    positions: array[int] = field(default_factory=lambda: array("I"))
    uids: array[int] = field(default_factory=lambda: array("I"))
    modseqs: array[int] = field(default_factory=lambda: array("Q"))

    def take(self, hits: Hits) -> None:
        """Add what a step found."""
        self.positions.extend(hits.positions)
        self.uids.extend(hits.uids)
        self.modseqs.extend(hits.modseqs)

    def before(self, other: Found) -> None:
        """Put another in front, what both have once."""
        if self.positions and other.positions and self.positions[0] == other.positions[-1]:
            return
        self.positions = other.positions + self.positions
        self.uids = other.uids + self.uids
        self.modseqs = other.modseqs + self.modseqs


class Progress:
    """Tells the client now and then how far a long command is. RFC 9585"""

    def __init__(self, session: Session, request: Request) -> None:
        self._session = session
        self._tag = request.tag.decode("ascii").replace("\\", "\\\\").replace('"', '\\"')
        self._next = session.clock.monotonic_seconds() + PROGRESS_SECONDS
        self._is_hidden = session.is_hidden("INPROGRESS")

    def __call__(self, done: int, goal: int) -> None:
        """Call it after each step."""
        now = self._session.clock.monotonic_seconds()
        if now < self._next or self._is_hidden:
            return
        self._next = now + PROGRESS_SECONDS
        numbers = f"{done} {goal}" if 0 < done < goal else "NIL NIL"
        self._session.line(f'OK [INPROGRESS ("{self._tag}" {numbers})] Still at work')
        self._session.flush()
        self._session.expire_in(AUTOLOGOUT_SECONDS)


def places_of(session: Following, view: Selected) -> Places:
    """What a search of this view reads."""
    deps = session.service.deps
    return Places(lambda: session.mail_of(view), deps.search_index, session.clock.now().timestamp())


async def stepped(
    session: Following, steps: Iterator[T], took: Callable[[T], Awaitable[None]], *, on_loop: bool = False
) -> None:
    """Step a blocking generator in threads, or a quick one here."""
    if on_loop:
        for item in steps:
            await took(item)
        return
    step = partial(next, steps, None)
    while True:
        stepping = asyncio.ensure_future(session.offload(step))
        try:
            item = await asyncio.shield(stepping)
        except asyncio.CancelledError:
            await asyncio.wait([stepping])  # the generator may only be dropped when no thread is inside it
            raise
        if item is None:
            return
        await took(item)


async def find(
    session: Following,
    view: Selected,
    program: Key,
    report: Report | None = None,
    *,
    uids: bool = False,
    modseqs: bool = False,
    returns: Returns | None = None,
) -> Found:
    """The messages that match, in mailbox order; only the first or the last ones when no more is asked for."""
    search = Search(view, program, places_of(session, view))
    on_loop = search.runs_on_loop(needs_arrays=uids or modseqs)

    async def part(limit: int | None, backwards: bool) -> Found:
        batches: list[Found] = []
        found = Found()

        async def take(hits: Hits) -> None:
            if backwards and hits.positions:
                batches.append(Found())
                batches[-1].take(hits)
            else:
                found.take(hits)
            if report is not None and not on_loop:
                report(search.done_count, view.count)

        steps = search.run(uids=uids, modseqs=modseqs, limit=limit, backwards=backwards)
        await stepped(session, steps, take, on_loop=on_loop)
        for batch in reversed(batches):
            found.take(_hits(batch))
        return found

    first, last = _ends(returns)
    if first is None:
        return await part(None, False)
    result = await part(last, True) if last else Found()
    if first:
        result.before(await part(first, False))
    return result


def _hits(batch: Found) -> Hits:
    return Hits(batch.positions, batch.uids, batch.modseqs)


def _ends(returns: Returns | None) -> tuple[int | None, int]:
    """How many results from the beginning and from the end are enough; (None, 0): all are needed."""
    if returns is None:
        return None, 0
    options = returns.options - {"CONTEXT", "SAVE"}
    partial_range = returns.partial
    if partial_range is not None:
        if options:
            return None, 0
        return (0, partial_range.high) if partial_range.last else (partial_range.high, 0)
    if not options or not options <= {"MIN", "MAX"}:
        return None, 0
    return int("MIN" in options), int("MAX" in options)


def picked(values: Sequence[int], order: Sequence[int]) -> Sequence[int]:
    """The values in another order."""
    return [values[index] for index in order]
