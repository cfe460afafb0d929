"""SORT and THREAD. RFC 5256; RETURN: RFC 5267 3; DISPLAYFROM and DISPLAYTO: RFC 5957."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from mailbox_app.proto.imap.search import BadCharset, Returns
from mailbox_app.proto.imap.search_parser import SortRequest, ThreadRequest, parse_sort, parse_thread
from mailbox_app.proto.imap.threads import thread_text
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.search import LOOP_HITS, charset_aware, check_search, refuse_charset, saving
from mailbox_app.services.imap.ordering import Sorting, Threading
from mailbox_app.services.imap.search_answers import extended, plain, saved_uids, shown_places, tag_correlator
from mailbox_app.services.imap.search_contexts import watch_results
from mailbox_app.services.imap.search_runs import Found, Progress, find, picked, stepped
from mailbox_app.services.imap.session import Session

_PIECE = 65_536


async def sort(session: Session, request: Request, asked: SortRequest | BadCharset) -> None:
    """Find, read what is compared, put in order, tell."""
    if isinstance(asked, BadCharset):
        raise refuse_charset(session, asked)
    view, search = session.view, asked.search
    check_search(session, search)
    if search.wants_modseq:
        session.enable_condstore()
    returns = search.returns
    report = Progress(session, request)
    with saving(session, returns):
        watched = watch_results(session, request, search, asked.criteria)
        found = await find(session, view, search.program, report, uids=True, modseqs=search.wants_modseq)
        sorting = Sorting(lambda: session.mail_of(view), view, asked.criteria)

        async def took(_: bool) -> None:
            report(sorting.done_count, len(found.uids))

        await stepped(session, sorting.run(found.uids), took)
    if watched is not None:
        watched.begin(session, picked(found.uids, sorting.order))
    finish = partial(_told, request, returns, found, sorting.order)
    line, saved = await session.offload(finish) if len(sorting.order) > LOOP_HITS else finish()
    if saved is not None:
        view.saved = saved
    if line:
        session.line(line)


def _told(
    request: Request, returns: Returns | None, found: Found, order: Sequence[int]
) -> tuple[str, Sequence[int] | None]:
    """The answer, and what is saved."""
    uids = picked(found.uids, order)
    numbers: Sequence[int] = uids if request.uid else [found.positions[place] + 1 for place in order]
    if returns is None:
        return plain("SORT", numbers, max(found.modseqs, default=0)), None
    saved = saved_uids(returns, uids) if returns.saves else None
    if returns.is_silent:
        return "", saved
    modseqs = picked(found.modseqs, order) if found.modseqs else ()
    modseq = max((modseqs[place] for place in shown_places(returns, len(modseqs))), default=0)
    return extended(tag_correlator(request.tag), returns, numbers, modseq, uid=request.uid), saved


async def thread(session: Session, request: Request, asked: ThreadRequest | BadCharset) -> None:
    """Find, read what threads are made of, tell."""
    if isinstance(asked, BadCharset):
        raise refuse_charset(session, asked)
    check_search(session, asked.search)
    view = session.view
    if asked.search.wants_modseq:
        session.enable_condstore()
    report = Progress(session, request)
    found = await find(session, view, asked.search.program, report, uids=True)
    threading = Threading(lambda: session.mail_of(view), view, asked.algorithm)

    async def took(_: bool) -> None:
        report(threading.done_count, len(found.uids))

    await stepped(session, threading.run(found.uids), took)

    async def send(piece: str) -> None:
        session.write(piece.encode("ascii"))
        await session.drain()

    await stepped(session, _thread_pieces(request, threading, found), send)


def _thread_pieces(request: Request, threading: Threading, found: Found) -> Iterator[str]:
    """The THREAD line."""
    numbers = [found.uids[place] if request.uid else found.positions[place] + 1 for place in threading.places]
    pieces, held = ["* THREAD "] if numbers else ["* THREAD"], 0
    for piece in thread_text(threading.forest, numbers):
        pieces.append(piece)
        held += len(piece)
        if held >= _PIECE:
            yield "".join(pieces)
            pieces, held = [], 0
    yield "".join([*pieces, "\r\n"])


SORT = Command(
    "SORT",
    State.SELECTED,
    Does.HAS_UID_FORM | Does.KEEPS_NUMBERS,
    "SORT",
    "RFC 5256 3",
    sort,
    charset_aware(parse_sort),
)
THREAD = Command(
    "THREAD",
    State.SELECTED,
    Does.HAS_UID_FORM | Does.KEEPS_NUMBERS,
    "THREAD=REFERENCES",
    "RFC 5256 3",
    thread,
    charset_aware(parse_thread),
)
