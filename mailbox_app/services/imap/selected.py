"""What a session knows of its selected mailbox: UIDs, flags and modseqs as compact arrays, in sequence order.

`apply` is the only place where sequence numbers change. It turns the store's changes into untagged answers: EXPUNGE with
numbers taken before each removal, then FETCH for changed flags, then EXISTS and RECENT. Expunges that may not be told
yet are kept until they may; until then their messages keep their numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import compress

from mailbox_app.ids import MailboxId, Modseq, Uid
from mailbox_app.store.model import KEYWORD_SHIFT, Changes, Snapshot, SystemFlag

RECENT = 32
"""The session's own bit in a flags integer: the store leaves 5 to 7 unused."""
SYSTEM_FLAGS = {
    "\\answered": SystemFlag.ANSWERED,
    "\\flagged": SystemFlag.FLAGGED,
    "\\deleted": SystemFlag.DELETED,
    "\\seen": SystemFlag.SEEN,
    "\\draft": SystemFlag.DRAFT,
}
_NAMES = (
    (SystemFlag.ANSWERED, "\\Answered"),
    (SystemFlag.FLAGGED, "\\Flagged"),
    (SystemFlag.DELETED, "\\Deleted"),
    (SystemFlag.SEEN, "\\Seen"),
    (SystemFlag.DRAFT, "\\Draft"),
    (RECENT, "\\Recent"),
)
_FEW = 16
"""Up to so many removals one by one; more rebuild the arrays."""


class FlagTexts(dict[int, str]):
    """A flags integer as its list in parentheses, rendered once each."""

    __slots__ = ("_keywords",)

    def __init__(self, keywords: Sequence[str]) -> None:
        super().__init__()
        self._keywords = keywords

    def __missing__(self, flags: int) -> str:
        names = [name for bit, name in _NAMES if flags & bit]
        names += [word for number, word in enumerate(self._keywords) if flags >> KEYWORD_SHIFT + number & 1]
        text = self[flags] = f"({' '.join(names)})"
        return text


class Selected:
    """The view of one session. Positions are zero-based; sequence numbers are one more."""

    __slots__ = (
        "flags",
        "highest_modseq",
        "keywords",
        "mailbox_id",
        "modseqs",
        "name",
        "read_only",
        "recent_count",
        "texts",
        "uidnext",
        "uids",
        "uidvalidity",
        "withheld",
    )

    def __init__(self, snapshot: Snapshot, first_recent: Uid | None, *, read_only: bool) -> None:
        info = snapshot.info
        self.mailbox_id: MailboxId = info.mailbox_id
        self.name = info.name
        self.read_only = read_only
        self.uidvalidity = info.uidvalidity
        self.uidnext: int = info.uidnext
        self.highest_modseq: Modseq = info.highest_modseq
        self.keywords = info.keywords
        self.uids = snapshot.uids
        self.flags = snapshot.flags
        self.modseqs = snapshot.modseqs
        self.texts = FlagTexts(info.keywords)
        self.withheld: set[int] = set()
        self.recent_count = 0
        if first_recent is not None:
            self._mark_recent(bisect_left(self.uids, first_recent))

    @property
    def count(self) -> int:
        """Messages in the view."""
        return len(self.uids)

    def index_of(self, uid: int) -> int | None:
        """The position of a UID."""
        index = bisect_left(self.uids, uid)
        return index if index < len(self.uids) and self.uids[index] == uid else None

    def flag_names(self) -> str:
        """The FLAGS answer's list."""
        return " ".join([name for bit, name in _NAMES if bit != RECENT] + list(self.keywords))

    def flag_lines(self) -> list[str]:
        """FLAGS and PERMANENTFLAGS."""
        names = self.flag_names()
        lasting = "" if self.read_only else f"{names} \\*"
        return [f"* FLAGS ({names})\r\n", f"* OK [PERMANENTFLAGS ({lasting})] Flags permitted\r\n"]

    def fetch_lines(self, indexes: Iterable[int], *, uid: bool, modseq: bool) -> list[str]:
        """Untagged FETCH with the flags of now."""
        uids, flags, texts, modseqs = self.uids, self.flags, self.texts, self.modseqs
        if uid and modseq:
            return [
                f"* {i + 1} FETCH (UID {uids[i]} FLAGS {texts[flags[i]]} MODSEQ ({modseqs[i]}))\r\n" for i in indexes
            ]
        if modseq:
            return [f"* {i + 1} FETCH (FLAGS {texts[flags[i]]} MODSEQ ({modseqs[i]}))\r\n" for i in indexes]
        if uid:
            return [f"* {i + 1} FETCH (UID {uids[i]} FLAGS {texts[flags[i]]})\r\n" for i in indexes]
        return [f"* {i + 1} FETCH (FLAGS {texts[flags[i]]})\r\n" for i in indexes]

    def set_flags(self, changed: Iterable[tuple[int, int, int]]) -> list[int]:
        """Take over (uid, flags, modseq) of messages in view; the positions that were news."""
        news = []
        for uid, flags, modseq in changed:
            index = self.index_of(uid)
            if index is not None and modseq > self.modseqs[index]:
                self.flags[index] = flags | self.flags[index] & RECENT
                self.modseqs[index] = modseq
                news.append(index)
        return news

    def apply(self, changes: Changes, *, expunges: bool, uid: bool, modseq: bool) -> tuple[list[str], int]:
        """Bring the view up to date: the lines that tell the client (without RECENT), and how many messages are new."""
        self.highest_modseq = max(self.highest_modseq, changes.highest_modseq)
        lines = self.take_keywords(changes.keywords)
        if changes.expunged:
            self.withheld.update(changes.expunged)
        if expunges and self.withheld:
            lines += self.remove_withheld()
        first_new = bisect_left(changes.changed, self.uidnext, key=lambda row: row[0])
        known = changes.changed[:first_new]
        if known:
            lines += self.fetch_lines(self.set_flags(known), uid=uid, modseq=modseq)
        new = changes.changed[first_new:]
        if new:
            self.uids.extend([row[0] for row in new])
            self.flags.extend([row[1] for row in new])
            self.modseqs.extend([row[2] for row in new])
            lines.append(f"* {len(self.uids)} EXISTS\r\n")
        self.uidnext = max(self.uidnext, changes.uidnext)
        return lines, len(new)

    def take_keywords(self, keywords: tuple[str, ...]) -> list[str]:
        """Know these keywords from now on; the lines that tell the client when they are new."""
        if keywords == self.keywords:
            return []
        self.keywords = keywords
        self.texts = FlagTexts(keywords)
        return self.flag_lines()

    def mark_recent_since(self, first_recent: Uid, position: int) -> list[str]:
        """Messages from this position on with at least this UID are recent; the RECENT answer."""
        self._mark_recent(max(position, bisect_left(self.uids, first_recent)))
        return [f"* {self.recent_count} RECENT\r\n"]

    def _mark_recent(self, position: int) -> None:
        flags = self.flags
        for index in range(position, len(flags)):
            flags[index] |= RECENT
        self.recent_count += max(0, len(flags) - position)

    def remove_withheld(self) -> list[str]:
        """Take the withheld expunges out of the view; their EXPUNGE lines. RFC 9051 7.5.1."""
        positions = sorted(index for uid in self.withheld if (index := self.index_of(uid)) is not None)
        self.withheld.clear()
        if not positions:
            return []
        self.recent_count -= sum(1 for index in positions if self.flags[index] & RECENT)
        # The n-th removal (from zero) sees the numbers lowered by the n before it.
        lines = [f"* {index + 1 - gone} EXPUNGE\r\n" for gone, index in enumerate(positions)]
        if len(positions) <= _FEW:
            for index in reversed(positions):
                del self.uids[index], self.flags[index], self.modseqs[index]
        else:
            keep = bytearray(b"\1") * len(self.uids)
            for index in positions:
                keep[index] = 0
            self.uids = array("I", compress(self.uids, keep))
            self.flags = array("Q", compress(self.flags, keep))
            self.modseqs = array("Q", compress(self.modseqs, keep))
        return lines
