"""What a strict client believes: its view of the selected mailbox, and facts that hold for all sessions.

Every untagged answer is held against both; a `Wrong` tells what does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.imap_wire import numbers

IMMUTABLE = (
    *("ENVELOPE", "BODYSTRUCTURE", "BODY", "INTERNALDATE", "RFC822.SIZE", "EMAILID"),
    *("BODY[]", "BODY[HEADER]", "BODY[TEXT]"),
)
SYSTEM = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


class Wrong(AssertionError):
    """The server said or did what it must not."""


@dataclass(slots=True)
class Seen:
    """A message as the client knows it."""

    uid: int = 0
    """0: not told yet."""
    flags: frozenset[str] | None = None
    recent: bool = False
    modseq: int = 0


@dataclass(slots=True)
class Facts:
    """What all sessions of the run found out."""

    identity: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """Message-ID by (mailbox id, UID)."""
    constant: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    by_identity: dict[tuple[bytes, str], Any] = field(default_factory=dict)
    recent: dict[tuple[str, int], int] = field(default_factory=dict)
    """Which selection was told that it is recent."""
    modseq: dict[str, int] = field(default_factory=dict)
    """The highest told to anybody."""
    uidnext: dict[str, int] = field(default_factory=dict)
    """All lower UIDs are taken."""
    mailbox_of: dict[tuple[str, int], str] = field(default_factory=dict)
    """Mailbox id by (name, UIDVALIDITY): a client's cache is kept under these."""
    ids: dict[int, set[str]] = field(default_factory=dict)
    """Mailbox ids by UIDVALIDITY."""

    def named(self, mailbox_id: str, uid: int, message_id: bytes) -> None:
        known = self.identity.setdefault((mailbox_id, uid), message_id)
        if known != message_id:
            raise Wrong(f"UID {uid} of {mailbox_id} was {known!r} and is {message_id!r}")

    def taken(self, mailbox_id: str, uid: int) -> None:
        self.uidnext[mailbox_id] = max(self.uidnext.get(mailbox_id, 0), uid + 1)

    def told_modseq(self, mailbox_id: str, modseq: int) -> None:
        self.modseq[mailbox_id] = max(self.modseq.get(mailbox_id, 0), modseq)

    def selected(self, name: str, validity: int, mailbox_id: str) -> None:
        known = self.mailbox_of.setdefault((name, validity), mailbox_id)
        if known != mailbox_id:
            raise Wrong(f"{name} with UIDVALIDITY {validity} was {known} and is {mailbox_id}")
        self.ids.setdefault(validity, set()).add(mailbox_id)

    def id_of(self, validity: int) -> str | None:
        """The mailbox id, when there is no doubt."""
        found = self.ids.get(validity, set())
        return next(iter(found)) if len(found) == 1 else None

    def always(self, mailbox_id: str, uid: int, item: str, value: Any) -> None:
        known = self.constant.setdefault((mailbox_id, uid, item), value)
        if known != value:
            raise Wrong(f"{item} of UID {uid} was {known!r} and is {value!r}")
        identity = self.identity.get((mailbox_id, uid))
        if identity is not None and item != "EMAILID":
            known = self.by_identity.setdefault((identity, item), value)
            if known != value:
                raise Wrong(f"{item} of {identity!r} was {known!r} and is {value!r}")


class View:
    """The selected mailbox of one session."""

    def __init__(self, facts: Facts, name: str, selection: int, *, read_only: bool) -> None:
        self.facts = facts
        self.name = name
        self.selection = selection
        """Counts up over all sessions."""
        self.read_only = read_only
        self.messages: list[Seen] = []
        self.uidonly = False
        """Nobody tells where a message stands."""
        self.mailbox_id = ""
        self.validity = 0
        self.uidnext = 0
        self.highest = 0
        """As a client with CONDSTORE remembers it."""
        self._untold = 0
        self.keywords: set[str] = set()
        self.recent_count = 0
        self.removed: list[int] = []
        """UIDs told to be gone, for whoever asked."""

    # structure

    def exists(self, count: int) -> None:
        if count < len(self.messages):
            raise Wrong(f"EXISTS {count} after {len(self.messages)}")
        self.messages += [Seen() for _ in range(count - len(self.messages))]

    def expunge(self, number: int) -> None:
        self._at(number)
        gone = self.messages.pop(number - 1)
        if gone.uid:
            self.removed.append(gone.uid)

    def vanish(self, text: str, *, earlier: bool) -> None:
        if earlier:
            return
        gone = numbers(text)
        self.removed += gone
        left = set(gone)
        self.messages = [each for each in self.messages if each.uid not in left or left.discard(each.uid)]  # type: ignore[func-returns-value]
        for uid in sorted(left):  # one whose UID was not told, between neighbours that are known
            self._forget_unknown(uid)

    def _forget_unknown(self, uid: int) -> None:
        for place, each in enumerate(self.messages):
            if each.uid > uid and not self.uidonly:
                break
            if not each.uid and (self.uidonly or all(not 0 < other.uid < uid for other in self.messages[place:])):
                del self.messages[place]
                return
        raise Wrong(f"VANISHED {uid}, which is not in view")

    def _at(self, number: int) -> Seen:
        if not 1 <= number <= len(self.messages):
            raise Wrong(f"number {number} of {len(self.messages)}")
        return self.messages[number - 1]

    def by_uid(self, uid: int) -> Seen | None:
        return next((each for each in self.messages if each.uid == uid), None)

    # answers

    def flag_names(self, names: Iterable[str]) -> None:
        fresh = set(names)
        for each in self.messages:
            if each.flags is not None and not {f for f in each.flags if not f.startswith("\\")} <= fresh:
                raise Wrong(f"FLAGS lost a keyword that UID {each.uid} has: {each.flags} {fresh}")
        self.keywords = fresh

    def fetched(self, number: int, items: dict[str, Any], *, by_uid: bool) -> Seen:
        """FETCH, or UIDFETCH."""
        if by_uid:
            found = self.by_uid(number)
            if found is None:  # of the new ones at the end: the first whose UID is not known
                found = next((each for each in self.messages if not each.uid), None)
                if found is None:
                    raise Wrong(f"UIDFETCH {number}, which is not in view")
                found.uid = number
                self.messages.sort(key=lambda each: each.uid or 1 << 33)
                self.facts.taken(self.mailbox_id, number)
            items = {**items, "UID": str(number)}
        else:
            found = self._at(number)
        if "UID" in items:
            self._uid(found, int(items["UID"]))
        if "MODSEQ" in items:
            self._modseq(found, int(items["MODSEQ"][0]))
        if "FLAGS" in items:
            self._flags(found, items["FLAGS"])
        if found.uid:
            self._constants(found.uid, items)
        return found

    def _uid(self, found: Seen, uid: int) -> None:
        if found.uid == uid:
            return
        place = next(i for i, each in enumerate(self.messages) if each is found)
        if found.uid:
            raise Wrong(f"number {place + 1} had UID {found.uid} and has {uid}")
        below = max((each.uid for each in self.messages[:place]), default=0)
        above = next((each.uid for each in self.messages[place + 1 :] if each.uid), 1 << 32)
        if not below < uid < above:
            raise Wrong(f"UID {uid} between {below} and {above}")
        if uid < self.uidnext and self.uidnext and below >= self.uidnext:
            raise Wrong(f"UID {uid} is below UIDNEXT {self.uidnext}")
        found.uid = uid
        self.facts.taken(self.mailbox_id, uid)

    def _modseq(self, found: Seen, modseq: int) -> None:
        if modseq < found.modseq:
            raise Wrong(f"MODSEQ of UID {found.uid} was {found.modseq} and is {modseq}")
        if modseq != found.modseq:
            found.modseq = modseq
        self._untold = max(self._untold, modseq)
        self.facts.told_modseq(self.mailbox_id, modseq)

    def _flags(self, found: Seen, names: list[str]) -> None:
        found.recent = "\\Recent" in names
        flags = frozenset(names) - {"\\Recent"}
        if len(flags) + found.recent != len(names):
            raise Wrong(f"a flag twice: {names}")
        strange = {each for each in flags if each not in SYSTEM and each not in self.keywords}
        if strange:
            raise Wrong(f"flags of UID {found.uid} that FLAGS did not name: {strange}")
        found.flags = flags
        if not found.uid:
            return
        if found.recent and not self.read_only:
            holder = self.facts.recent.setdefault((self.mailbox_id, found.uid), self.selection)
            if holder != self.selection:
                raise Wrong(f"UID {found.uid} is recent in selections {holder} and {self.selection}")

    def _constants(self, uid: int, items: dict[str, Any]) -> None:
        envelope = items.get("ENVELOPE")
        if envelope is not None and envelope[9] is not None:
            self.facts.named(self.mailbox_id, uid, envelope[9])
        for item in IMMUTABLE:
            if item in items:
                value = items[item]
                if item == "BODY[]":
                    self._whole(uid, value)
                    value = hash(value)
                self.facts.always(self.mailbox_id, uid, item, value)

    def _whole(self, uid: int, data: bytes) -> None:
        head = data.partition(b"\r\n\r\n")[0]
        named = [line[12:] for line in head.split(b"\r\n") if line.lower().startswith(b"message-id: ")]
        if len(named) != 1:
            raise Wrong(f"UID {uid} has no Message-ID: {data[:200]!r}")
        self.facts.named(self.mailbox_id, uid, named[0])
        self.facts.always(self.mailbox_id, uid, "RFC822.SIZE", str(len(data)))

    # modseqs, as RFC 7162 3.2 has a client remember them

    def told_highest(self, modseq: int) -> None:
        """A HIGHESTMODSEQ code: what was told in FETCH until now counts no more."""
        self._untold = 0
        self.highest = modseq
        self.facts.told_modseq(self.mailbox_id, modseq)

    def command_done(self) -> None:
        self.highest = max(self.highest, self._untold)
        self._untold = 0
