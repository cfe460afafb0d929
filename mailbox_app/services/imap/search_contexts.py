"""Results that are kept up to date: RETURN (UPDATE) and its ADDTO and REMOVEFROM. RFC 5267 4.3.

A context keeps the UIDs it told. Changed and new messages are asked again, and only they; a sorted result is put in order
again when something joins it, and may not be large. Sequence numbers in a program mean what they meant when the command
came; such a program is refused with NOUPDATE, and so are more UIDs than a session may keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mailbox_app.proto.imap.search import And, Key, Not, Numbers, Or, SearchRequest, Uids
from mailbox_app.proto.imap.search_parser import Criterion
from mailbox_app.proto.imap.sequence import SequenceSet, compress
from mailbox_app.services.imap.command import Request
from mailbox_app.services.imap.ordering import Sorting
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.search_answers import tag_correlator
from mailbox_app.services.imap.search_runs import find, stepped
from mailbox_app.services.imap.selected import Selected

if TYPE_CHECKING:
    from mailbox_app.services.imap.following import Following

MAX_CONTEXTS = 16
MAX_SORTED = 20_000
"""Messages of a sorted result that is followed: putting them in order takes some tenths of a second of a thread."""

MAX_FOLLOWED = 100_000
"""UIDs in all results that a session follows: some 8 MB."""
_MANY = 500
"""Changes that are worked through in a thread."""


class Context:
    """One result the client follows; a sorted one by `criteria`."""

    def __init__(self, view: Selected, request: Request, program: Key, criteria: Sequence[Criterion] = ()) -> None:
        self._view = view
        self.tag = request.tag
        self.program = program
        self.criteria = criteria
        self.tells_uids = request.uid
        self._told: set[int] = set()
        """UIDs of the result."""
        self._order: list[int] = []
        """Of a sorted one their order; else nothing, it does not matter."""

    @property
    def size(self) -> int:
        """UIDs that are kept."""
        return len(self._told)

    def begin(self, session: Following, uids: Sequence[int]) -> None:
        """This is what the client is told; too much is not followed."""
        if len(uids) + sum(each.size for each in self._view.contexts.values()) > MAX_FOLLOWED:
            _refuse(session, self.tag, "Too much to follow")
            return
        self._told.update(uids)
        if self.criteria:
            self._order.extend(uids)
        self._view.contexts[self.tag] = self

    def with_more(self, uids: Iterable[int]) -> list[int]:
        """The result's UIDs and these, ascending."""
        return sorted(self._told.union(uids))

    def with_leaving(self, order: list[int]) -> list[int]:
        """A new order with the messages that are gone, which the client still counts, behind those they were behind."""
        known = set(order)
        for place, uid in enumerate(self._order):
            if uid not in known:
                order.insert(order.index(self._order[place - 1]) + 1 if place else 0, uid)
        return order

    def changed(self, uids: Iterable[int], found: Iterable[int]) -> tuple[str, set[int]]:
        """Of messages that changed those in `found` match: the REMOVEFROM line, and what was not told yet."""
        matching = set(found)
        return self.remove(set(uids).difference(matching)), matching.difference(self._told)

    def remove(self, uids: Iterable[int]) -> str:
        """The REMOVEFROM line of messages that match no more or are about to leave the view; empty when none was told."""
        gone = self._told.intersection(uids)
        if not gone:
            return ""
        self._told -= gone
        if not self.criteria:
            return self._line("REMOVEFROM", [(0, uid) for uid in gone])
        pairs: list[tuple[int, int]] = []
        kept: list[int] = []
        for uid in self._order:
            if uid in gone:
                pairs.append((len(kept) + 1, uid))  # what went before has made room
            else:
                kept.append(uid)
        self._order = kept
        return self._line("REMOVEFROM", pairs)

    def add(self, session: Following, uids: Iterable[int], order: Sequence[int] = ()) -> str:
        """The ADDTO line of new matches; `order` is a sorted result with them."""
        came = set(uids)
        if len(came) + sum(each.size for each in self._view.contexts.values()) > MAX_FOLLOWED:
            del self._view.contexts[self.tag]
            _refuse(session, self.tag, "Too much to follow")
            return ""
        self._told |= came
        if not self.criteria:
            return self._line("ADDTO", [(0, uid) for uid in came])
        self._order = list(order)
        return self._line("ADDTO", [(place, uid) for place, uid in enumerate(order, 1) if uid in came])

    def _line(self, word: str, pairs: Sequence[tuple[int, int]]) -> str:
        numbered = [(place, number) for place, uid in pairs if (number := self._number(uid))]
        if not numbered:
            return ""
        if self.criteria:
            text = " ".join([f"{place} {number}" for place, number in numbered])
        else:
            text = f"0 {compress(sorted(number for _, number in numbered))}"
        return f"ESEARCH ({tag_correlator(self.tag)}){' UID' if self.tells_uids else ''} {word} ({text})"

    def _number(self, uid: int) -> int:
        if self.tells_uids:
            return uid
        index = self._view.index_of(uid)
        return 0 if index is None else index + 1


def watch_results(
    session: Following, request: Request, asked: SearchRequest, criteria: Sequence[Criterion] = ()
) -> Context | None:
    """The context that UPDATE asks for, or word that there will be none; a tag in use is BAD."""
    view = session.selected
    if asked.returns is None or "UPDATE" not in asked.returns.options or view is None:
        return None
    if request.tag in view.contexts:
        raise Refusal("Tag reuse", status="BAD")
    reason = ""
    if _is_numbered(asked.program):
        reason = "No updates of message numbers"
    elif criteria and view.count > MAX_SORTED:
        reason = "No updates of large sorted results"
    elif len(view.contexts) >= MAX_CONTEXTS:
        reason = "Too many contexts"
    if reason:
        _refuse(session, request.tag, reason)
        return None
    return Context(view, request, asked.program, criteria)


def _refuse(session: Following, tag: bytes, reason: str) -> None:
    session.line(f"NO [NOUPDATE {tag_correlator(tag)[4:]}] {reason}")  # RFC 5267 4.3.1


def _is_numbered(key: Key) -> bool:
    """Whether it means messages by sequence number or by an earlier result."""
    if isinstance(key, And | Or):
        return any(map(_is_numbered, key.keys))
    if isinstance(key, Not):
        return _is_numbered(key.key)
    return isinstance(key, Numbers) or (isinstance(key, Uids) and key.wanted.saved)


def drop_numbered(session: Following, view: Selected) -> None:
    """Message numbers are told no more from here on. RFC 9586 3"""
    for context in [each for each in view.contexts.values() if not each.tells_uids]:
        del view.contexts[context.tag]
        _refuse(session, context.tag, "No message numbers with UIDONLY")


def leaving_lines(view: Selected, uids: Sequence[int]) -> list[str]:
    """Before EXPUNGE: the messages are in view, and loaded if sequence numbers are told."""
    return [line for context in view.contexts.values() if (line := context.remove(uids))]


async def tell_changed(session: Following, view: Selected, uids: Sequence[int]) -> None:
    """After FETCH and EXISTS: these are new or have other flags."""
    touched = SequenceSet(tuple((uid, uid) for uid in uids))
    for context in list(view.contexts.values()):
        found = await find(session, view, And((Uids(touched), context.program)), uids=True)
        compare = partial(context.changed, uids, found.uids)
        line, news = await session.offload(compare) if len(uids) > _MANY else compare()
        lines = [line]
        if news:
            order = await _sorted(session, view, context, news) if context.criteria else ()
            lines.append(context.add(session, news, order))
        for line in lines:
            if line:
                session.line(line)


async def _sorted(session: Following, view: Selected, context: Context, news: Iterable[int]) -> Sequence[int]:
    """The whole result with what is new, put in order again."""
    uids = context.with_more(news)
    sorting = Sorting(lambda: session.mail_of(view), view, context.criteria)

    async def took(_: bool) -> None:
        return

    await stepped(session, sorting.run(uids), took)
    return context.with_leaving([uids[place] for place in sorting.order])
