"""ESEARCH: several mailboxes searched by one command, none of them selected for it. RFC 7377."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from functools import cache, partial

from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.ids import AccountRef, MailboxId
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.patterns import above
from mailbox_app.proto.imap.search import BadCharset, Returns
from mailbox_app.proto.imap.search_parser import MultiSearchRequest, Source, Sources, parse_multi_search
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.commands.search import LOOP_HITS, charset_aware, check_search, refuse_charset, saving
from mailbox_app.services.imap.namespaces import USERS_PREFIX, Seen, locate, own_mailboxes, shared_mailboxes, shown_name
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.search_answers import ALL, extended, saved_uids, shown_modseq, tag_correlator
from mailbox_app.services.imap.search_contexts import watch_results
from mailbox_app.services.imap.search_runs import Found, Progress, find
from mailbox_app.services.imap.selected import Selected
from mailbox_app.services.imap.session import Session

_RIGHTS = frozenset("lr")


async def multi_search(session: Session, request: Request, asked: MultiSearchRequest | BadCharset) -> None:
    """One ESEARCH line for each mailbox in which something is found."""
    if isinstance(asked, BadCharset):
        raise refuse_charset(session, asked)
    check_search(session, asked.search)
    returns = asked.search.returns or ALL
    sources = asked.sources
    uses_selected = any(each.source is Source.SELECTED for each in sources)
    if session.selected is None and (uses_selected or "UPDATE" in returns.options):
        raise Refusal("No mailbox selected", status="BAD")
    if returns.saves and any(each.source is not Source.SELECTED for each in sources):
        raise Refusal("Only a search of the selected mailbox can be saved", status="BAD")
    if asked.search.wants_modseq:
        session.enable_condstore()
    with saving(session, returns):
        if uses_selected:
            await _search_one(session, request, asked, session.view)
        others = [each for each in sources if each.source is not Source.SELECTED]
        if others:
            for ref, mailbox_id, rights, shown in await session.offload(_mailboxes, session, others):
                view = session.selected
                if view is not None and (view.ref.account_id, view.mailbox_id) == (ref.account_id, mailbox_id):
                    if not uses_selected:
                        await _search_one(session, request, asked, view)
                    continue
                opened = await session.offload(_opened, session, ref, mailbox_id, rights, shown)
                if opened is not None:
                    await _search_one(session, request, asked, opened)


async def _search_one(session: Session, request: Request, asked: MultiSearchRequest, view: Selected) -> None:
    search = asked.search
    returns = search.returns or ALL
    watched = None
    if view is session.selected:
        watched = watch_results(session, Request(request.tag, request.verb, True, request.text), search)
    found = await find(
        session,
        view,
        search.program,
        Progress(session, request),
        uids=True,
        modseqs=search.wants_modseq,
        returns=search.returns or ALL,
    )
    if watched is not None:
        watched.begin(session, found.uids)
    shown = shown_name(session, view.ref, view.name) if view is session.selected else view.name
    render = partial(_told, request, returns, view, found, response.mailbox(shown, utf8=session.utf8))
    line = await session.offload(render) if len(found.uids) > LOOP_HITS else render()
    if line:
        session.write(line)
        await session.drain()


def _told(request: Request, returns: Returns, view: Selected, found: Found, name: bytes) -> bytes:
    """The answer; what is saved is the view's from now on."""
    if returns.saves:
        view.saved = saved_uids(returns, found.uids)
    if not found.uids or returns.is_silent:
        return b""
    correlator = f"{tag_correlator(request.tag)} MAILBOX \0 UIDVALIDITY {view.uidvalidity}"
    line = extended(correlator, returns, found.uids, shown_modseq(returns, found), uid=True)
    head, _, rest = line.partition("\0")
    return b"* %b%b%b\r\n" % (head.encode("ascii"), name, rest.encode("ascii"))


_Place = tuple[AccountRef, MailboxId, str, str]


def _mailboxes(session: Session, sources: Sequence[Sources]) -> list[_Place]:
    """Which mailboxes the sources mean, each once; those the session may not read are left out."""
    seen: dict[tuple[int, int], _Place] = {}
    known = _Known(session)
    for each in dict.fromkeys(sources):
        for place in _of_source(session, each, known):
            seen.setdefault((place[0].account_id, place[1]), place)
    return list(seen.values())


class _Known:
    """The session's mailboxes, read once when a source needs them."""

    def __init__(self, session: Session) -> None:
        self.own = cache(lambda: own_mailboxes(session))
        self.shared = cache(lambda: shared_mailboxes(session))


def _of_source(session: Session, sources: Sources, known: _Known) -> Iterator[_Place]:
    match sources.source:
        case Source.PERSONAL:
            yield from _readable(known.own(), lambda seen: True)
        case Source.INBOXES:
            yield from _readable(known.own(), lambda seen: seen.shown == "INBOX")
        case Source.SUBSCRIBED:
            yield from _readable([*known.own(), *known.shared()], lambda seen: seen.info.subscribed)
        case Source.MAILBOXES:
            for name in dict.fromkeys(sources.names):
                yield from _named(session, name)
        case _:
            is_wanted = _below(frozenset(sources.names), one_level=sources.source is Source.SUBTREE_ONE)
            yield from _readable(known.own(), is_wanted)
            if any(name.startswith(USERS_PREFIX) for name in sources.names):
                yield from _readable(known.shared(), is_wanted)


def _below(names: Set[str], *, one_level: bool) -> Callable[[Seen], bool]:
    def is_below(seen: Seen) -> bool:
        higher = above(seen.shown)
        return seen.shown in names or not names.isdisjoint(higher[:1] if one_level else higher)

    return is_below


def _readable(mailboxes: Sequence[Seen], wanted: Callable[[Seen], bool]) -> Iterator[_Place]:
    for seen in mailboxes:
        if wanted(seen) and set(seen.rights) >= _RIGHTS:
            yield seen.ref, seen.info.mailbox_id, seen.rights, seen.shown


def _named(session: Session, name: str) -> Iterator[_Place]:
    try:
        located = locate(session, name, "r")
        info = session.service.deps.store.account(located.ref).mailbox(located.name)
    except (Refusal, MailboxError) as error:
        if isinstance(error, MailboxError) and error.temporary:
            raise
        return
    yield located.ref, info.mailbox_id, located.rights, located.shown


def _opened(session: Session, ref: AccountRef, mailbox_id: MailboxId, rights: str, shown: str) -> Selected | None:
    """A view of its own, for this search; None when the mailbox went away."""
    try:
        outline = session.service.deps.store.account(ref).outline(mailbox_id)
    except StoreError as error:
        if error.code == "store.no_such_mailbox":
            return None
        raise
    view = Selected(outline, ref, rights, None, read_only=True)
    view.name = shown
    return view


ESEARCH = Command(
    "ESEARCH",
    State.LOGGED_IN,
    Does.HAS_UID_FORM | Does.TAKES_NO_NUMBERS,
    "MULTISEARCH",
    "RFC 7377 2",
    multi_search,
    charset_aware(parse_multi_search),
)
