"""SEARCH. RFC 9051 6.4.4; RETURN: RFC 4731, RFC 5182, RFC 5267, RFC 9394; MODSEQ: RFC 7162 3.1.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from mailbox_app.errors import MailboxError
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.imap.search import BadCharset, Returns, SearchRequest, names_numbers
from mailbox_app.proto.imap.search_parser import parse_search
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.search_answers import (
    ALL,
    extended,
    plain,
    saved_uids,
    shown_modseq,
    tag_correlator,
)
from mailbox_app.services.imap.search_contexts import watch_results
from mailbox_app.services.imap.search_runs import Found, Progress, find
from mailbox_app.services.imap.session import Session

LOOP_HITS = 20_000
"""So many are rendered on the loop; more in a thread."""
T = TypeVar("T")


def charset_aware(parse: Callable[[Cursor], T]) -> Callable[[Cursor], T | BadCharset]:
    """A parser of a searching command; an unknown charset is answered by the command itself: NO, not BAD."""

    def parse_all(cursor: Cursor) -> T | BadCharset:
        cursor.space()
        try:
            return parse(cursor)
        except BadCharset as error:
            cursor.pos = len(cursor.data)
            return error

    return parse_all


def refuse_charset(session: Session, error: BadCharset) -> Refusal:
    """What ends the command; with SAVE nothing is saved any more. RFC 5182 2.1"""
    if error.saves and session.selected is not None:
        session.selected.saved = ()
    return Refusal("Search in US-ASCII or UTF-8", "BADCHARSET (US-ASCII UTF-8)")


@contextmanager
def saving(session: Session, returns: Returns | None) -> Iterator[None]:
    """A search that fails saves nothing, and nothing is saved any more. RFC 5182 2.1"""
    try:
        yield
    except (MailboxError, Refusal):
        if returns is not None and returns.saves and session.selected is not None:
            session.selected.saved = ()
        raise


def check_search(session: Session, asked: SearchRequest) -> None:
    """Who speaks UTF-8 names no charset (RFC 9755 3), who does without sequence numbers none of those (RFC 9586 3)."""
    if session.uidonly and names_numbers(asked.program):
        raise Refusal("No message numbers with UIDONLY", "UIDREQUIRED", status="BAD")
    if asked.names_charset and "UTF8=ACCEPT" in session.enabled:
        raise Refusal("CHARSET is not used with UTF8=ACCEPT", status="BAD")


async def search(session: Session, request: Request, asked: SearchRequest | BadCharset) -> None:
    """Find and tell."""
    if isinstance(asked, BadCharset):
        raise refuse_charset(session, asked)
    check_search(session, asked)
    if asked.wants_modseq:
        session.enable_condstore()
    view = session.view
    returns = asked.returns or (ALL if session.rev2 else None)
    with saving(session, returns):
        saves = returns is not None and returns.saves
        watched = watch_results(session, request, asked)
        found = await find(
            session,
            view,
            asked.program,
            Progress(session, request),
            uids=request.uid or saves or watched is not None,
            modseqs=asked.wants_modseq,
            returns=returns,
        )
    if watched is not None:
        watched.begin(session, found.uids)
    render = partial(_told, request, returns, found)
    line, saved = await session.offload(render) if len(found.positions) > LOOP_HITS else render()
    if saved is not None:
        view.saved = saved
    if line:
        session.line(line)


def _told(request: Request, returns: Returns | None, found: Found) -> tuple[str, Sequence[int] | None]:
    """The answer, and what is saved."""
    numbers: Sequence[int] = found.uids if request.uid else [position + 1 for position in found.positions]
    if returns is None:
        return plain("SEARCH", numbers, max(found.modseqs, default=0)), None
    saved = saved_uids(returns, found.uids) if returns.saves else None
    if returns.is_silent:
        return "", saved
    modseq = shown_modseq(returns, found)
    return extended(tag_correlator(request.tag), returns, numbers, modseq, uid=request.uid), saved


SEARCH = Command(
    "SEARCH",
    State.SELECTED,
    Does.HAS_UID_FORM | Does.KEEPS_NUMBERS,
    "",
    "RFC 9051 6.4.4",
    search,
    charset_aware(parse_search),
)
