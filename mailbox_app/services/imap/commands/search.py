"""SEARCH. RFC 9051 6.4.4; RETURN: RFC 4731; MODSEQ: RFC 7162 3.1.5."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.search import BadCharset, SearchRequest, parse_search
from mailbox_app.proto.imap.sequence import compress
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.searching import Search
from mailbox_app.services.imap.selected import Selected
from mailbox_app.services.imap.session import Session

_LOOP_HITS = 20_000


def parse(cursor: Cursor) -> SearchRequest:
    """The program; an unknown charset is NO, not BAD."""
    cursor.space()
    try:
        return parse_search(cursor)
    except BadCharset as error:
        raise Refusal("Search in US-ASCII or UTF-8", "BADCHARSET (US-ASCII UTF-8)") from error


async def search(session: Session, request: Request, asked: SearchRequest) -> None:
    """From the arrays at once, anything else step by step in a thread."""
    if asked.wants_modseq:
        session.enable_condstore()
    view = session.view
    await session.load(None)
    wanted = Search(view, asked.program)
    hits = wanted.fast()
    if hits is None:
        hits = await _run(session, wanted)
    render = partial(_rendered, view, request, asked, hits)
    line = await session.offload(render) if len(hits) > _LOOP_HITS else render()
    session.line(line)


def _rendered(view: Selected, request: Request, asked: SearchRequest, hits: Sequence[int]) -> str:
    numbers = view.uids_at(hits) if request.uid else [index + 1 for index in hits]
    modseq = max(view.modseqs_at(hits), default=0) if asked.wants_modseq else 0
    if asked.returns is None:
        answer = "".join([f" {number}" for number in numbers])
        return f"SEARCH{answer} (MODSEQ {modseq})" if modseq else f"SEARCH{answer}"
    return _extended(request, asked.returns, numbers, _shown_modseq(view, asked.returns, hits, modseq))


async def _run(session: Session, wanted: Search) -> Sequence[int]:
    step = partial(next, wanted.run(lambda: session.mail_of(session.view)), None)
    hits: list[int] = []
    stepping: asyncio.Future[list[int] | None]
    while True:
        stepping = asyncio.ensure_future(session.offload(step))
        try:
            found = await asyncio.shield(stepping)
        except asyncio.CancelledError:
            await asyncio.wait([stepping])  # the generator may only be dropped when no thread is inside it
            raise
        if found is None:
            break
        hits += found
    hits.sort()
    return hits


def _shown_modseq(view: Selected, returns: frozenset[str], hits: Sequence[int], highest: int) -> int:
    """RFC 7162 3.1.10: with MIN or MAX alone it is that message's own."""
    if not highest or returns & {"ALL", "COUNT"} or not hits:
        return highest
    ends = [hits[0]] if "MIN" in returns else []
    if "MAX" in returns:
        ends.append(hits[-1])
    return max(view.modseqs_at(ends))


def _extended(request: Request, returns: frozenset[str], numbers: Sequence[int], modseq: int) -> str:
    words = [f'ESEARCH (TAG "{request.tag.decode("ascii")}")']
    if request.uid:
        words.append("UID")
    if numbers:
        if "MIN" in returns:
            words.append(f"MIN {numbers[0]}")
        if "MAX" in returns:
            words.append(f"MAX {numbers[-1]}")
        if "ALL" in returns:
            words.append(f"ALL {compress(numbers)}")
    if "COUNT" in returns:
        words.append(f"COUNT {len(numbers)}")
    if modseq:
        words.append(f"MODSEQ {modseq}")
    return " ".join(words)


SEARCH = Command(
    "SEARCH", State.SELECTED, Does.HAS_UID_FORM | Does.KEEPS_NUMBERS, "", "RFC 9051 6.4.4", search, parse
)  # fmt: skip
