"""Results that are kept up to date: RETURN (UPDATE) and its ADDTO and REMOVEFROM. RFC 5267 4.3.

A context keeps the UIDs it told. Changed and new messages are asked again, and only they. Sequence numbers in a program
mean what they meant when the command came; such a program, and a sorted result, is refused with NOUPDATE.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mailbox_app.proto.imap.search import And, Key, Not, Numbers, Or, SearchRequest, Uids
from mailbox_app.proto.imap.sequence import SequenceSet, compress
from mailbox_app.services.imap.command import Request
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.search_answers import tag_correlator
from mailbox_app.services.imap.search_runs import find
from mailbox_app.services.imap.selected import Selected

if TYPE_CHECKING:
    from mailbox_app.services.imap.following import Following

MAX_CONTEXTS = 16


class Context:
    """One result the client follows."""

    def __init__(self, view: Selected, tag: bytes, program: Key, *, uid: bool) -> None:
        self._view = view
        self.tag = tag
        self.program = program
        self.uid = uid
        self._members: set[int] = set()

    def begin(self, uids: Iterable[int]) -> None:
        """This is what the client was told."""
        self._members = set(uids)
        self._view.contexts[self.tag] = self

    def removed(self, uids: Iterable[int]) -> str:
        """REMOVEFROM of messages that are about to leave the view; empty when none of them was told."""
        gone = self._members.intersection(uids)
        self._members -= gone
        return self._line("REMOVEFROM", gone)

    def updated(self, asked: Iterable[int], matching: Iterable[int]) -> list[str]:
        """The lines after some messages were asked again."""
        matches = set(matching)
        left = self._members.intersection(asked) - matches
        came = matches - self._members
        self._members = (self._members - left) | came
        return [line for line in (self._line("REMOVEFROM", left), self._line("ADDTO", came)) if line]

    def _line(self, word: str, uids: Iterable[int]) -> str:
        numbers: Sequence[int] = sorted(uids)
        if not self.uid:
            numbers = [index + 1 for uid in numbers if (index := self._view.index_of(uid)) is not None]
        if not numbers:
            return ""
        form = " UID" if self.uid else ""
        return f"ESEARCH ({tag_correlator(self.tag)}){form} {word} (0 {compress(numbers)})"


def watch_results(
    session: Following, request: Request, asked: SearchRequest, *, is_sorted: bool = False
) -> Context | None:
    """The context that UPDATE asks for, or word that there will be none; a tag in use is BAD."""
    view = session.selected
    if asked.returns is None or "UPDATE" not in asked.returns.options or view is None:
        return None
    if request.tag in view.contexts:
        raise Refusal("Tag reuse", status="BAD")
    reason = ""
    if is_sorted:
        reason = "No updates of sorted results"
    elif _is_numbered(asked.program):
        reason = "No updates of message numbers"
    elif len(view.contexts) >= MAX_CONTEXTS:
        reason = "Too many contexts"
    if reason:
        session.line(f"NO [NOUPDATE {tag_correlator(request.tag)[4:]}] {reason}")
        return None
    return Context(view, request.tag, asked.program, uid=request.uid)


def _is_numbered(key: Key) -> bool:
    """Whether it means messages by sequence number or by an earlier result."""
    if isinstance(key, And | Or):
        return any(map(_is_numbered, key.keys))
    if isinstance(key, Not):
        return _is_numbered(key.key)
    return isinstance(key, Numbers) or (isinstance(key, Uids) and key.wanted.saved)


def tell_leaving(session: Following, view: Selected, uids: Sequence[int]) -> None:
    """Before EXPUNGE: the messages are in view, and loaded if sequence numbers are told."""
    for context in view.contexts.values():
        line = context.removed(uids)
        if line:
            session.line(line)


async def tell_changed(session: Following, view: Selected, uids: Sequence[int]) -> None:
    """After FETCH and EXISTS: these are new or have other flags."""
    touched = SequenceSet(tuple((uid, uid) for uid in uids))
    for context in list(view.contexts.values()):
        found = await find(session, view, And((Uids(touched), context.program)), uids=True)
        for line in context.updated(uids, found.uids):
            session.line(line)
