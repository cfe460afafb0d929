"""What a session knows of its selected mailbox: the counts of its blocks, and the arrays of those it needed so far.

`apply` and `remove_withheld` are the only places where sequence numbers change. They turn the store's changes into untagged
answers: EXPUNGE with numbers taken before each removal (or VANISHED), then FETCH for changed flags, then EXISTS.
Expunges that may not be told yet are kept until they may; until then their messages keep their numbers. What has to be
loaded before is told by `concerned` and `blocks_to_tell`; nothing here asks the store.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import compress as picked
from typing import TYPE_CHECKING

from mailbox_app.ids import AccountRef, MailboxId, Modseq, Uid
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.imap.sequence import compress
from mailbox_app.services.imap.blocks import Blocks
from mailbox_app.store.model import KEYWORD_SHIFT, BlockRows, Changes, Outline, SystemFlag

if TYPE_CHECKING:
    from mailbox_app.services.imap.search_contexts import Context

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


_MAX_TEXTS = 10_000
"""Rendered flag lists that a session keeps: a megabyte. Thirty-one flags have more combinations than memory has room."""


class FlagTexts(dict[int, str]):
    """A flags integer as its list in parentheses, rendered once each."""

    __slots__ = ("_keywords",)

    def __init__(self, keywords: Sequence[str]) -> None:
        super().__init__()
        self._keywords = keywords

    def __missing__(self, flags: int) -> str:
        names = [name for bit, name in _NAMES if flags & bit]
        names += [word for number, word in enumerate(self._keywords) if flags >> KEYWORD_SHIFT + number & 1]
        if len(self) >= _MAX_TEXTS:
            self.clear()
        text = self[flags] = f"({' '.join(names)})"
        return text


class Selected:
    """The view of one session. Positions are zero-based; sequence numbers are one more."""

    __slots__ = (
        "_blocks",
        "_recent",
        "_told",
        "contexts",
        "highest_modseq",
        "keywords",
        "mailbox_id",
        "name",
        "read_only",
        "recent_count",
        "ref",
        "rights",
        "saved",
        "settled_modseq",
        "texts",
        "uidnext",
        "uidonly",
        "uidvalidity",
        "watch",
        "withheld",
    )

    def __init__(
        self, outline: Outline, ref: AccountRef, rights: str, first_recent: Uid | None, *, read_only: bool
    ) -> None:
        info = outline.info
        self.mailbox_id: MailboxId = info.mailbox_id
        self.name = info.name
        self.ref = ref
        """Whose store holds the mailbox."""
        self.rights = rights
        """RFC 4314 letters."""
        self.read_only = read_only
        self.uidvalidity = info.uidvalidity
        self.uidnext: int = info.uidnext
        self.highest_modseq: Modseq = info.highest_modseq
        self.settled_modseq: Modseq = info.highest_modseq
        """Up to here the client was told everything; beyond it, removals are withheld."""
        self.keywords = info.keywords
        self.texts = FlagTexts(info.keywords)
        self.watch = outline.watch
        self.uidonly = False
        """Messages are told by UID instead of by number. RFC 9586"""
        self.saved: Sequence[int] = ()
        """UIDs that the last SEARCH saved, ascending. RFC 5182"""
        self.contexts: dict[bytes, Context] = {}
        """Results the client follows, by the tag of their command. RFC 5267"""
        self.withheld: set[int] = set()
        """UIDs removed from the mailbox that the session still counts."""
        self._told: set[int] = set()
        """UIDs taken out of the view that the store's changes since `highest_modseq` will name."""
        self._blocks = Blocks(outline.block_bits, outline.blocks)
        self._recent: list[tuple[int, int]] = []
        """UID ranges, the end excluded, that are recent for this session."""
        self.recent_count = 0
        if first_recent is not None and first_recent < info.uidnext:
            self._recent.append((first_recent, info.uidnext))
            self.recent_count = outline.recent_count

    @property
    def count(self) -> int:
        """Messages in the view."""
        return self._blocks.count

    # what is loaded
    @property
    def blocks(self) -> Blocks:
        """The messages; sessions load them through `Session.load` and `Session.positions`."""
        return self._blocks

    def fill(self, found: Iterable[BlockRows]) -> None:
        """Take blocks as the store tells them. One that does not fit what is counted ends the session: its log of
        removals was too short."""
        withheld = sorted(self.withheld)
        for rows in found:
            block = self._blocks.get(rows.number)
            if block is None or block.is_loaded:
                continue
            bits = self._blocks.bits
            low, high = (bisect_left(withheld, number << bits) for number in (rows.number, rows.number + 1))
            extra = set(withheld[low:high])
            extra.update(uid for uid in rows.expunged if uid not in self._told)
            uids, flags, modseqs = rows.uids[:], rows.flags[:], rows.modseqs[:]  # the rows may be others' too
            if extra or not self._told.isdisjoint(uids):  # one read before a removal of our own still has it
                merged = [row for row in zip(uids, flags, modseqs, strict=True) if row[0] not in self._told]
                merged += [(uid, int(SystemFlag.DELETED), self.highest_modseq) for uid in extra.difference(uids)]
                merged.sort()
                columns = zip(*merged, strict=True) if merged else ((), (), ())
                uids, flags, modseqs = (array(code, values) for code, values in zip("IQQ", columns, strict=True))
            if len(uids) != block.count:
                raise Goodbye("[UNAVAILABLE] Too much was removed meanwhile, select the mailbox again")
            block.load(uids, flags, modseqs)
            for low, high in self._recent:
                for place in range(bisect_left(uids, low), bisect_left(uids, high)):
                    flags[place] |= RECENT

    def forget_messages(self, kept: int = 0) -> None:
        """Keep only the counts when more messages than that are loaded: they are loaded again when they are needed."""
        if sum(len(block.uids) for block in self._blocks) > kept:
            for block in self._blocks:
                block.unload()

    # messages by position: ascending, loaded ones only
    def uid(self, index: int) -> int:
        """One UID."""
        block, place = self._blocks.at(index)
        return block.uids[place]

    def uids_at(self, positions: Sequence[int]) -> Sequence[int]:
        """UIDs of ascending positions."""
        return self._blocks.uids_at(positions)

    def flags_at(self, positions: Sequence[int]) -> Sequence[int]:
        """Their flags."""
        return self._blocks.flags_at(positions)

    def modseqs_at(self, positions: Sequence[int]) -> Sequence[int]:
        """Their modseqs."""
        return self._blocks.modseqs_at(positions)

    def index_of(self, uid: int) -> int | None:
        """The position of a UID; None when it is not there or not loaded."""
        return self._blocks.index_of(uid)

    # answers
    def flag_names(self) -> str:
        """The FLAGS answer's list."""
        return " ".join([name for bit, name in _NAMES if bit != RECENT] + list(self.keywords))

    def flag_lines(self) -> list[str]:
        """FLAGS and PERMANENTFLAGS."""
        names = self.flag_names()
        lasting = "" if self.read_only else self._lasting_names()
        return [f"* FLAGS ({names})\r\n", f"* OK [PERMANENTFLAGS ({lasting})] Flags permitted\r\n"]

    def _lasting_names(self) -> str:
        """Those that the session may change. RFC 4314 5.1"""
        rights = {SystemFlag.SEEN: "s", SystemFlag.DELETED: "t"}
        names = [name for bit, name in _NAMES if bit != RECENT and rights.get(SystemFlag(bit), "w") in self.rights]
        if "w" in self.rights:
            names += [*self.keywords, "\\*"]
        return " ".join(names)

    def fetch_lines(self, indexes: Sequence[int], *, uid: bool, modseq: bool) -> list[str]:
        """Untagged FETCH with the flags of now; ascending, loaded positions."""
        texts = self.texts
        flags = [texts[each] for each in self.flags_at(indexes)]
        if self.uidonly:
            head, uid = "UIDFETCH", False
            numbers = self.uids_at(indexes)
        else:
            head, numbers = "FETCH", [index + 1 for index in indexes]
        uids = self.uids_at(indexes) if uid else ()
        modseqs = self.modseqs_at(indexes) if modseq else ()
        if uid and modseq:
            rows = zip(numbers, uids, flags, modseqs, strict=True)
            return [f"* {n} FETCH (UID {u} FLAGS {f} MODSEQ ({m}))\r\n" for n, u, f, m in rows]
        if modseq:
            known = zip(numbers, flags, modseqs, strict=True)
            return [f"* {n} {head} (FLAGS {f} MODSEQ ({m}))\r\n" for n, f, m in known]
        if uid:
            return [f"* {n} FETCH (UID {u} FLAGS {f})\r\n" for n, u, f in zip(numbers, uids, flags, strict=True)]
        return [f"* {n} {head} (FLAGS {f})\r\n" for n, f in zip(numbers, flags, strict=True)]

    # changes
    def set_flags(self, changed: Sequence[tuple[int, int, int]]) -> list[int]:
        """Take over (uid, flags, modseq), ascending, of loaded messages; the positions that were news. Flags with a keyword
        that is not known yet stay news: they are told whole after the FLAGS that names it."""
        news: list[int] = []
        nameless = KEYWORD_SHIFT + len(self.keywords)
        rows = iter(changed)
        for block, start, group in self._blocks.by_block([row[0] for row in changed]):
            for wanted in group:
                uid, new, modseq = next(rows)
                while uid != wanted:
                    uid, new, modseq = next(rows)
                place = block.find(uid)
                if place is not None and modseq > block.modseqs[place]:
                    block.flags[place] = new | block.flags[place] & RECENT
                    if not new >> nameless:
                        block.modseqs[place] = modseq
                    news.append(start + place)
        return news

    def concerned(self, changes: Changes, *, expunges: bool, vanished: bool = False) -> list[int]:
        """Numbers of the blocks to load before `apply`."""
        uids: set[int] = {row[0] for row in changes.changed if row[0] < self.uidnext}
        if not changes.complete:
            uids.update(changes.expunged)
        if expunges and not vanished:
            uids.update(self.withheld, changes.expunged)
        return self._blocks.missing_of(uids)

    def blocks_to_tell(self, *, vanished: bool = False) -> list[int]:
        """Numbers of the blocks to load before `remove_withheld`."""
        return [] if vanished else self._blocks.missing_of(self.withheld)

    def apply(
        self, changes: Changes, *, expunges: bool, uid: bool, modseq: bool, vanished: bool = False
    ) -> tuple[list[str], Sequence[int]]:
        """Bring the view up to date: the lines that tell the client (without RECENT), and the UIDs that are new."""
        self.highest_modseq = max(self.highest_modseq, changes.highest_modseq)
        lines = self.take_keywords(changes.keywords)
        if changes.complete:
            self.withheld.update([each for each in changes.expunged if each < self.uidnext and each not in self._told])
        else:
            self.withheld.update([each for each in changes.expunged if self.index_of(each) is not None])
        self._told.clear()
        if expunges and self.withheld:
            lines += self._remove_withheld(vanished=vanished)[0]
        first_new = bisect_left(changes.changed, self.uidnext, key=lambda row: row[0])
        known = changes.changed[:first_new]
        if known:
            lines += self.fetch_lines(self.set_flags(known), uid=uid, modseq=modseq)
        new = changes.changed[first_new:]
        if new:
            self._blocks.append(new)
            lines.append(f"* {self.count} EXISTS\r\n")
        self.uidnext = max(self.uidnext, changes.uidnext)
        if not self.withheld:
            self.settled_modseq = self.highest_modseq
        return lines, [row[0] for row in new]

    def take_keywords(self, keywords: tuple[str, ...]) -> list[str]:
        """Know these keywords from now on; the lines that tell the client when they are new."""
        if keywords == self.keywords:
            return []
        self.keywords = keywords
        self.texts = FlagTexts(keywords)
        return self.flag_lines()

    def mark_recent_since(self, first_recent: Uid, new: Sequence[int]) -> list[str]:
        """Of these new messages, the last of the view, those with at least this UID are recent; the RECENT answer."""
        low = max(first_recent, new[0])
        self.recent_count += len(new) - bisect_left(new, low)
        if self._recent and self._recent[-1][1] == low:
            self._recent[-1] = (self._recent[-1][0], self.uidnext)
        elif low < self.uidnext:
            self._recent.append((low, self.uidnext))
        for block in self._blocks:
            if block.is_loaded and block.uids[-1] >= low:
                for place in range(bisect_left(block.uids, low), len(block.uids)):
                    block.flags[place] |= RECENT
        return [f"* {self.recent_count} RECENT\r\n"]

    def expunged_here(self, uids: Iterable[int]) -> None:
        """The session itself removed these: they are withheld until `remove_withheld`, which comes at once."""
        self.withheld.update([uid for uid in uids if uid < self.uidnext])

    def remove_withheld(self, *, vanished: bool = False) -> list[str]:
        """Take the withheld expunges out of the view; their EXPUNGE lines, or VANISHED. RFC 9051 7.5.1, RFC 7162 3.2.10."""
        lines, removed = self._remove_withheld(vanished=vanished)
        self._told.update(removed)
        self.settled_modseq = self.highest_modseq
        return lines

    def _remove_withheld(self, *, vanished: bool) -> tuple[list[str], list[int]]:
        positions, removed = self._blocks.remove(sorted(self.withheld))
        self.withheld.clear()
        if not removed:
            return [], removed
        recent = sum(bisect_left(removed, high) - bisect_left(removed, low) for low, high in self._recent)
        self.recent_count -= recent
        # RFC 3501 7.3.2: the number that clients keep would else be more than there are.
        told = [f"* {self.recent_count} RECENT\r\n"] if recent else []
        if self.saved:
            self.saved = _without(self.saved, removed)
        if vanished:
            return [f"* VANISHED {compress(removed)}\r\n", *told], removed
        # The n-th removal (from zero) sees the numbers lowered by the n before it.
        return [*(f"* {index + 1 - gone} EXPUNGE\r\n" for gone, index in enumerate(positions)), *told], removed


def _without(uids: Sequence[int], removed: Iterable[int]) -> Sequence[int]:
    """Ascending UIDs without some; quick however many they are."""
    keep = bytearray(b"\1") * len(uids)
    for uid in removed:
        place = bisect_left(uids, uid)
        if place < len(uids) and uids[place] == uid:
            keep[place] = 0
    return array("I", picked(uids, keep))
