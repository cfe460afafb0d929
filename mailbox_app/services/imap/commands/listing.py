"""LIST and LSUB. RFC 9051 6.3.9, RFC 3501 6.3.9, RFC 6154 (SPECIAL-USE), RFC 3348 (CHILDREN)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo

_MAX_PATTERN = 1_000


@dataclass(frozen=True, slots=True)
class Listing:
    """Reference and pattern."""

    reference: str
    pattern: str


def parse_list(cursor: Cursor) -> Listing:
    """Reference and pattern."""
    cursor.space()
    reference = cursor.mailbox()
    cursor.space()
    pattern = cursor.list_mailbox()
    if len(reference) + len(pattern) > _MAX_PATTERN:
        raise ProtocolError("imap.limit", "pattern too long")
    return Listing(reference, pattern)


class Matcher:
    """`*` is anything, `%` anything without the delimiter. Time is bounded by name times pattern length."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def matches(self, name: str) -> bool:
        """INBOX matches in any case, other names as they are."""
        if name == "INBOX" or name.startswith("INBOX/"):
            head, tail = self._pattern[:5], self._pattern[5:]
            if head.upper() == "INBOX":
                return _matches(name, "INBOX" + tail)
        return _matches(name, self._pattern)


def _matches(name: str, pattern: str) -> bool:
    """Walks the name once with the set of pattern positions that are still possible."""
    if pattern == "*":
        return True
    positions = _passed({0}, pattern)
    for char in name:
        following = set()
        for position in positions:
            if position == len(pattern):
                continue
            wanted = pattern[position]
            if wanted == "*" or (wanted == "%" and char != "/"):
                following.add(position)
            elif wanted == char:
                following.add(position + 1)
        positions = _passed(following, pattern)
        if not positions:
            return False
    return len(pattern) in positions


def _passed(positions: Iterable[int], pattern: str) -> set[int]:
    """The positions, and those behind wildcards that stand for nothing."""
    found = set()
    for start in positions:
        position = start
        found.add(position)
        while position < len(pattern) and pattern[position] in "*%":
            position += 1
            found.add(position)
    return found


def parents(names: Iterable[str]) -> set[str]:
    """Every name above one of these."""
    found: set[str] = set()
    for name in names:
        above = name.rpartition("/")[0]
        while above and above not in found:
            found.add(above)
            above = above.rpartition("/")[0]
    return found


async def list_mailboxes(session: Session, request: Request, listing: Listing) -> None:
    """Mailboxes that exist, and names that only have children."""
    if not listing.pattern:  # RFC 9051 6.3.9: an empty pattern asks for the delimiter
        session.line('LIST (\\Noselect) "/" ""')
        return
    infos = {info.name: info for info in await session.offload(lambda: session.mail().mailboxes())}
    for line in _list_lines(infos, listing):
        session.write(line)


def _list_lines(infos: Mapping[str, MailboxInfo], listing: Listing) -> Sequence[bytes]:
    wanted = Matcher(listing.reference + listing.pattern)
    with_children = parents(infos)
    lines = []
    ordered = sorted(with_children | infos.keys(), key=lambda name: (name != "INBOX", name))
    for name in ordered:
        if not wanted.matches(name):
            continue
        info = infos.get(name)
        words = ["\\HasChildren" if name in with_children else "\\HasNoChildren"]
        if info is None:
            words.insert(0, "\\Noselect")
        elif info.special_use is not None:
            words.append(f"\\{info.special_use.value}")
        lines.append(_line("LIST", words, name))
    return lines


async def list_subscribed(session: Session, request: Request, listing: Listing) -> None:
    """Subscribed names; with `%`, a level above one that is too deep is named as not selectable. RFC 3501 6.3.9."""
    if not listing.pattern:
        session.line('LSUB (\\Noselect) "/" ""')
        return
    names = set(await session.offload(lambda: session.mail().subscriptions()))
    wanted = Matcher(listing.reference + listing.pattern)
    for name in sorted(names):
        if wanted.matches(name):
            session.write(_line("LSUB", [], name))
    if "%" in listing.pattern:
        for name in sorted(parents(names) - names):
            if wanted.matches(name):
                session.write(_line("LSUB", ["\\Noselect"], name))


def _line(verb: str, words: Sequence[str], name: str) -> bytes:
    return f'* {verb} ({" ".join(words)}) "/" '.encode("ascii") + response.mailbox(name) + b"\r\n"


LIST = Command("LIST", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.9", list_mailboxes, parse_list)
LSUB = Command("LSUB", State.LOGGED_IN, Does.NOTHING, "", "RFC 3501 6.3.9", list_subscribed, parse_list)
