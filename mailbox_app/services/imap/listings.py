"""What LIST, LSUB and NOTIFY tell about mailboxes: the lines, made from what the session may see. Blocking.

A name without a mailbox that has children is told as such; so is a subscribed name of nothing. All patterns of a command
together name each mailbox once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from mailbox_app.errors import StoreError
from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.acl import shown as shown_rights
from mailbox_app.proto.imap.listing import Listing
from mailbox_app.proto.imap.patterns import Matcher, above, parents
from mailbox_app.services.imap.annotations import metadata_line, of_mailbox
from mailbox_app.services.imap.mailbox_status import status_line
from mailbox_app.services.imap.namespaces import USERS, Seen, own_mailboxes, shared_mailboxes
from mailbox_app.services.imap.session import Session


def list_lines(session: Session, listing: Listing) -> list[bytes]:
    """The whole answer of LIST."""
    matchers = [Matcher(listing.reference + pattern) for pattern in listing.patterns]
    seen = _visible(session, matchers)
    wanted = _Wanted(session, listing, seen, matchers)
    lines: list[bytes] = []
    for name in _ordered(wanted.names()):
        each = seen.get(name)
        words = wanted.words(name, each)
        lines.append(list_line(session, "LIST", words, name, wanted.child_info(name)))
        if each is not None:
            lines += _more(session, listing, each)
    return lines


def lsub_lines(session: Session, listing: Listing) -> list[bytes]:
    """Subscribed names with their special uses; with `%`, a level above one that is too deep. RFC 3501 6.3.9."""
    matchers = [Matcher(listing.reference + listing.patterns[0])]
    names = set(session.mail().subscriptions())
    uses = {each.shown: each.info.special_use for each in own_mailboxes(session)}
    lines = []
    for name in _ordered(names):
        if _any(matchers, name):
            use = uses.get(name)
            lines.append(list_line(session, "LSUB", [f"\\{use.value}"] if use else [], name))
    if "%" in listing.patterns[0]:
        deeper = [name for name in _ordered(parents(names) - names) if _any(matchers, name)]
        lines += [list_line(session, "LSUB", ["\\Noselect"], name) for name in deeper]
    return lines


def list_line(session: Session, verb: str, words: Sequence[str], name: str, extended: bytes = b"") -> bytes:
    """One untagged answer; `extended` are its extended items in parentheses."""
    head = f'* {verb} ({" ".join(words)}) "/" '.encode("ascii")
    return head + response.mailbox(name, utf8=session.utf8) + (b" " + extended if extended else b"") + b"\r\n"


def old_name(session: Session, name: str) -> bytes:
    """The extended item that tells what a mailbox was called before. RFC 9051 6.3.9.7."""
    return b'("OLDNAME" (%b))' % response.mailbox(name, utf8=session.utf8)


def mailbox_words(each: Seen, *, has_children: bool) -> list[str]:
    """The attributes of a mailbox that exists."""
    words = ["\\HasChildren" if has_children else "\\HasNoChildren"]
    if "r" not in each.rights:
        words.insert(0, "\\Noselect")
    if each.info.special_use is not None:
        words.append(f"\\{each.info.special_use.value}")
    return words


class _Wanted:
    """Which names a LIST command is answered with, and what is said of each."""

    def __init__(
        self, session: Session, listing: Listing, seen: Mapping[str, Seen], matchers: Sequence[Matcher]
    ) -> None:
        self._seen = seen
        self._matchers = matchers
        self._with_children = parents(seen)
        self._selection = listing.selection
        self._tells_missing = listing.is_extended or session.rev2
        self._tells_subscribed = "SUBSCRIBED" in listing.selection | listing.returned
        self._subscribed = frozenset(session.mail().subscriptions()) if self._tells_subscribed else frozenset()
        self._below: dict[str, set[str]] = {}
        """For RECURSIVEMATCH: name to the chosen names below it."""
        self._chosen = self._choose()

    def _choose(self) -> set[str]:
        """Names that fulfil the selection options, whatever the patterns say."""
        criteria: list[Callable[[str], bool]] = []
        names: set[str] = set(self._seen)
        if "SUBSCRIBED" in self._selection:
            names |= self._subscribed
            criteria.append(self._subscribed.__contains__)
        if "SPECIAL-USE" in self._selection:
            criteria.append(lambda name: name in self._seen and self._seen[name].info.special_use is not None)
        if not criteria:
            return names | self._with_children
        chosen = {name for name in names if all(meets(name) for meets in criteria)}
        if "RECURSIVEMATCH" in self._selection:
            for name in chosen:
                for parent in above(name):
                    self._below.setdefault(parent, set()).add(name)
        return chosen

    def names(self) -> set[str]:
        """The names to tell."""
        told = {name for name in self._chosen if _any(self._matchers, name)}
        for parent, children in self._below.items():
            # RFC 5258 3.5: one that is not chosen itself only stands for children that are not told
            if parent not in told and not children <= told and _any(self._matchers, parent):
                told.add(parent)
        return told

    def words(self, name: str, each: Seen | None) -> list[str]:
        """The attributes."""
        has_children = name in self._with_children
        if each is not None:
            words = mailbox_words(each, has_children=has_children)
        else:
            words = ["\\NonExistent" if self._tells_missing else "\\Noselect"]
            if has_children:
                words.append("\\HasChildren")
        if self._tells_subscribed and name in self._subscribed:
            words.append("\\Subscribed")
        return words

    def child_info(self, name: str) -> bytes:
        """CHILDINFO: which options a mailbox below fulfils."""
        if name not in self._below:
            return b""
        options = " ".join(f'"{option}"' for option in ("SUBSCRIBED", "SPECIAL-USE") if option in self._selection)
        return f'("CHILDINFO" ({options}))'.encode("ascii")


def _visible(session: Session, matchers: Sequence[Matcher]) -> dict[str, Seen]:
    seen = own_mailboxes(session)
    if any(matcher.may_match_below(USERS) for matcher in matchers):
        seen += shared_mailboxes(session)
    return {each.shown: each for each in seen}


def _more(session: Session, listing: Listing, each: Seen) -> Iterable[bytes]:
    """The answers that follow a mailbox's LIST line."""
    store = session.service.deps.store
    if "MYRIGHTS" in listing.returned:
        name = response.mailbox(each.shown, utf8=session.utf8)
        yield b"* MYRIGHTS %b %b\r\n" % (name, shown_rights(each.rights).encode("ascii"))
    if listing.status and "r" in each.rights:
        try:
            info = store.account(each.ref).mailbox(each.info.name)  # looks for files of other programs
        except StoreError as error:
            if error.code != "store.no_such_mailbox":
                raise
            return  # deleted or renamed since the names were read. RFC 5819 2
        yield status_line(session, each.ref, info, each.shown, listing.status)
    if listing.entries and {"l", "r"} <= set(each.rights):
        values = of_mailbox(session, each.ref, each.info)
        yield metadata_line(session, each.shown, {entry: values.get(entry) for entry in listing.entries})


def _any(matchers: Sequence[Matcher], name: str) -> bool:
    return any(matcher.matches(name) for matcher in matchers)


def _ordered(names: Set[str]) -> list[str]:
    return sorted(names, key=lambda name: (name != "INBOX", name))
