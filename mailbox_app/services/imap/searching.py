"""Searching a mailbox: block by block, and in each block the cheapest knowledge first.

A block (4,096 UIDs) is decided by what is counted of it, by sets in the command and by the search index without being read, when
they can; then by the session's arrays, the rows of the index, the stored header blocks, at last the messages' text. Each
time only what is still open is asked. `run` blocks and is stepped in a thread; a step is short, and between two steps
nothing is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

from mailbox_app.errors import StoreError
from mailbox_app.ids import Uid
from mailbox_app.proto.imap import search as keys
from mailbox_app.proto.imap.sequence import STAR, SequenceSet
from mailbox_app.proto.mime import PartTable
from mailbox_app.services.imap.blocks import Block
from mailbox_app.services.imap.bodies import BodyReader
from mailbox_app.services.imap.message_set import runs
from mailbox_app.services.imap.message_text import MessageText
from mailbox_app.services.imap.search_keys import (
    Answer,
    FlagLeaf,
    HeaderLeaf,
    IndexedLeaf,
    Leaf,
    Level,
    ModseqLeaf,
    RangeLeaf,
    RowLeaf,
    Scope,
    TextLeaf,
    as_set,
    day_leaf,
    full_set,
    header_leaf,
    object_leaf,
    sent_leaf,
    size_leaf,
    within_leaf,
)
from mailbox_app.services.imap.selected import RECENT, SYSTEM_FLAGS, Selected
from mailbox_app.store.interface import Account
from mailbox_app.store.model import KEYWORD_SHIFT
from mailbox_app.store.search.index import SHORTEST, SearchIndex

_BATCH = {Level.ROW: 2_000, Level.HEADER: 400, Level.TEXT: 20}
_BLOCKS_KEPT = 64
"""A search leaves no more blocks loaded in a session: a quarter of a million messages."""
_LOOP_TESTS = 50_000
"""What may be tested on the loop: about 3 ms."""
_LOOP_LEAVES = 200
"""Keys, each of which costs something however few messages there are."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What one step found, ascending. `uids` and `modseqs` are there when they were asked for."""

    positions: Sequence[int]
    uids: Sequence[int] = ()
    modseqs: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Which sources a search reads."""

    mail: Callable[[], Account]
    """The store that holds the mailbox; blocks."""
    index: SearchIndex | None
    now_seconds: float


Known = dict[Leaf, Answer]
Node = Callable[[Known, int], Answer]


class _Question:
    """A key that is asked about some messages of a block."""

    __slots__ = ("decided", "leaf", "members")

    def __init__(self, leaf: Leaf, known: Answer, count: int) -> None:
        self.leaf = leaf
        self.decided = (known[0] | known[1]).to_bytes(count, "little")
        """Of these messages the answer is known."""
        self.members = bytearray(count)
        """Those that turn out to match."""


class Search:
    """One search over one view."""

    def __init__(self, view: Selected, program: keys.Key, places: Places) -> None:
        self._view = view
        self._places = places
        self._leaves: list[Leaf] = []
        self._ranges: list[tuple[RangeLeaf, SequenceSet]] = []
        self._seen: list[FlagLeaf] = []
        self._root = self._compile(program)
        self._levels = sorted({leaf.level for leaf in self._leaves if leaf.level > Level.ARRAYS})
        self._columns = sorted({leaf.column for leaf in self._leaves if isinstance(leaf, RowLeaf)})
        self._needs_uids = self._needs_modseqs = False
        self._prepared = False
        self.done_count = 0
        """Messages that are decided."""

    def runs_on_loop(self, *, needs_arrays: bool) -> bool:
        """Whether the arrays in memory are enough, and few: then `run` does not block."""
        leaves = len(self._leaves)
        if self._levels or leaves > _LOOP_LEAVES or self._view.count * (leaves + 1) > _LOOP_TESTS:
            return False
        if not needs_arrays and all(isinstance(leaf, RangeLeaf) for leaf in self._leaves) and not self._reads_uids:
            return True
        return all(block.is_loaded for block in self._view.blocks)

    @property
    def _reads_uids(self) -> bool:
        return bool(self._ranges)

    def run(
        self, *, uids: bool = False, modseqs: bool = False, limit: int | None = None, backwards: bool = False
    ) -> Iterator[Hits]:
        """What is found, block by block; each step may have nothing and only say that work goes on.

        With `limit` it ends when so many are found, from the end when `backwards` (blocks then come in that order).
        """
        self._needs_uids, self._needs_modseqs = uids, modseqs
        yield from self._prepare()
        blocks = list(self._view.blocks)
        starts = [0]
        for block in blocks:
            starts.append(starts[-1] + block.count)
        self.done_count = found = 0
        for place in range(len(blocks) - 1, -1, -1) if backwards else range(len(blocks)):
            scope = Scope(blocks[place], starts[place], self._view.blocks.bits, full_set(blocks[place].count))
            for hits in self._block(scope):
                if hits is None:
                    yield Hits(())
                    continue
                found += len(hits.positions)
                if limit is not None and found >= limit:
                    yield _cut(hits, found - limit, backwards)
                    return
                yield hits
            self.done_count += blocks[place].count

    # before the first block
    def _prepare(self) -> Iterator[Hits]:
        """Ask once what does not depend on the block."""
        if self._prepared:
            return
        self._prepared = True
        view = self._view
        for ranges, wanted in self._ranges:
            last = view.blocks.last()
            if last is not None and not last.is_loaded and any(STAR in bounds for bounds in wanted.ranges):
                self._load(last)
            ranges.set_bounds(_uid_bounds(view, wanted))
        if self._seen and not all(block.is_loaded for block in view.blocks):
            counts = self._places.mail().outline(view.mailbox_id).blocks
            known = {each.number: (each.message_count, each.unseen_count) for each in counts}
            for flag in self._seen:
                flag.counts = known
            yield Hits(())
        index = self._places.index
        for leaf in self._leaves:
            if index is not None and isinstance(leaf, IndexedLeaf) and len(leaf.needle) >= SHORTEST:
                leaf.candidates = index.candidates(
                    view.ref,
                    view.mailbox_id,
                    leaf.needle,
                    leaf.where,  # type: ignore[arg-type]
                    uidvalidity=view.uidvalidity,
                )
                yield Hits(())

    def _load(self, block: Block) -> None:
        view = self._view
        view.fill(self._places.mail().blocks(view.mailbox_id, [block.number], view.highest_modseq, Uid(view.uidnext)))

    # one block
    def _block(self, scope: Scope) -> Iterator[Hits | None]:
        block = scope.block
        known: Known = {leaf: leaf.before(scope) for leaf in self._leaves}
        yes, no = self._root(known, scope.full)
        if not yes and no == scope.full:
            return
        was_loaded = block.is_loaded
        if yes | no != scope.full or self._needs_uids or self._needs_modseqs:
            if not was_loaded:
                self._load(block)
                yield None
            if yes | no != scope.full:
                for leaf in self._leaves:
                    known[leaf] = leaf.look(scope)
                yes, no = self._root(known, scope.full)
        for level in self._levels:
            if yes | no == scope.full:
                break
            still = _places(scope.full ^ (yes | no), block.count)
            for start in range(0, len(still), _BATCH[level]):
                self._learn(scope, level, still[start : start + _BATCH[level]], known)
                yield None
            yes, no = self._root(known, scope.full)
        if yes:
            yield self._hits(scope, yes)
        if not was_loaded and block.is_loaded and self._is_too_much():
            block.unload()

    def _is_too_much(self) -> bool:
        return sum(1 for block in self._view.blocks if block.is_loaded) > _BLOCKS_KEPT

    def _hits(self, scope: Scope, yes: int) -> Hits:
        block = scope.block
        start, count = scope.start, block.count
        if yes == scope.full:
            return Hits(
                range(start, start + count),
                block.uids[:] if self._needs_uids else (),
                block.modseqs[:] if self._needs_modseqs else (),
            )
        members = yes.to_bytes(count, "little")
        return Hits(
            list(compress(range(start, start + count), members)),
            list(compress(block.uids, members)) if self._needs_uids else (),
            list(compress(block.modseqs, members)) if self._needs_modseqs else (),
        )

    def _learn(self, scope: Scope, level: Level, places: Sequence[int], known: Known) -> None:
        """Read more about these messages of the block; those that are gone stay open, and so are not found."""
        count = scope.block.count
        questions = [_Question(leaf, known[leaf], count) for leaf in self._leaves if leaf.level is level]
        asked = bytearray(count)
        if level is Level.ROW:
            self._read_rows(scope, places, questions, asked)
        elif level is Level.HEADER:
            self._read_headers(scope, places, questions, asked)
        else:
            self._read_texts(scope, places, questions, asked)
        read = as_set(asked)
        for question in questions:
            yes, no = known[question.leaf]
            new = as_set(question.members) & ~no
            known[question.leaf] = yes | new, no | (read & ~(yes | new))

    def _rows(
        self, scope: Scope, places: Sequence[int], columns: Sequence[str]
    ) -> Iterator[tuple[int, Sequence[object]]]:
        block = scope.block
        uids = [Uid(block.uids[place]) for place in places]
        for row in self._places.mail().rendered(self._view.mailbox_id, uids, columns):
            place = block.find(row[0])  # type: ignore[arg-type]
            if place is not None:
                yield place, row

    def _read_rows(self, scope: Scope, places: Sequence[int], questions: Sequence[_Question], asked: bytearray) -> None:
        tests = [
            (self._columns.index(each.leaf.column) + 1, each.leaf.accept, each.members)
            for each in questions
            if isinstance(each.leaf, RowLeaf)
        ]
        for place, row in self._rows(scope, places, self._columns):
            asked[place] = 1
            for column, accept, members in tests:
                members[place] = accept(row[column])

    def _read_headers(
        self, scope: Scope, places: Sequence[int], questions: Sequence[_Question], asked: bytearray
    ) -> None:
        tests = [
            (each.leaf.accept, each.members, each.decided) for each in questions if isinstance(each.leaf, HeaderLeaf)
        ]
        reader = BodyReader(self._places.mail(), self._view.mailbox_id)
        for place, row in self._rows(scope, places, ("header",)):
            # One too long for the index is in the file only.
            block = row[1] or reader.read_header(Uid(scope.block.uids[place]))
            asked[place] = 1
            for accept, members, decided in tests:
                if not decided[place]:
                    members[place] = accept(block)  # type: ignore[arg-type]

    def _read_texts(
        self, scope: Scope, places: Sequence[int], questions: Sequence[_Question], asked: bytearray
    ) -> None:
        account = self._places.mail()
        texts = [(each.leaf, each.members, each.decided) for each in questions if isinstance(each.leaf, TextLeaf)]
        for place, row in list(self._rows(scope, places, ("parts",))):
            try:
                opened = account.open_message(self._view.mailbox_id, Uid(scope.block.uids[place]))
            except StoreError as error:
                if error.temporary:
                    raise
                continue
            with opened:
                message = MessageText(opened, PartTable.decode(row[1]))  # type: ignore[arg-type]
                for body_only in (True, False):
                    group = [
                        (leaf, members)
                        for leaf, members, decided in texts
                        if leaf.body_only is body_only and not decided[place]
                    ]
                    if group:
                        answers = message.contains([leaf.needle for leaf, _ in group], body_only=body_only)
                        for (_, members), answer in zip(group, answers, strict=True):
                            members[place] = answer
            asked[place] = 1

    # compiling
    def _compile(self, key: keys.Key) -> Node:
        match key:
            case keys.And():
                return _all([self._compile(each) for each in key.keys])
            case keys.Or():
                return _any([self._compile(each) for each in key.keys])
            case keys.Not():
                inner = self._compile(key.key)

                def opposite(known: Known, full: int) -> Answer:
                    yes, no = inner(known, full)
                    return no, yes

                return opposite
            case keys.Text() if not key.text:
                return _all([])
        leaf = self._leaf(key)
        self._leaves.append(leaf)
        return lambda known, full: known[leaf]

    def _leaf(self, key: keys.Key) -> Leaf:
        match key:
            case keys.HasFlag():
                flag = FlagLeaf(self._bit(key.flag))
                if key.flag == "\\seen":
                    self._seen.append(flag)
                return flag
            case keys.Numbers(wanted) if not wanted.saved:
                return RangeLeaf(wanted.bounds(self._view.count), uids=False)
            case keys.Numbers() | keys.Uids():
                leaf = RangeLeaf((), uids=True)
                self._ranges.append((leaf, key.wanted))
                return leaf
            case keys.ChangedSince():
                return ModseqLeaf(key.modseq)
            case keys.Size():
                return size_leaf(key)
            case keys.Day():
                if key.clock is keys.Clock.SENT:
                    return sent_leaf(key)
                return day_leaf(key, "saved_seconds" if key.clock is keys.Clock.SAVED else "internal_seconds")
            case keys.Within():
                return within_leaf(key, self._places.now_seconds)
            case keys.ObjectId():
                return object_leaf(key)
            case keys.HeaderText():
                return header_leaf(key)
            case keys.Text():
                return TextLeaf(key)
            case _:
                raise AssertionError("not a leaf")

    def _bit(self, flag: str) -> int:
        """The bit of a flag; 0, which no message has, for a keyword nobody used."""
        if flag == "\\recent":
            return RECENT
        if flag in SYSTEM_FLAGS:
            return int(SYSTEM_FLAGS[flag])
        wanted = flag.lower()
        for number, keyword in enumerate(self._view.keywords):
            if keyword.lower() == wanted:
                return 1 << KEYWORD_SHIFT + number
        return 0


def _uid_bounds(view: Selected, wanted: SequenceSet) -> list[tuple[int, int]]:
    """Ascending ranges of UIDs; the last block is loaded when `*` is among them."""
    if not wanted.saved:
        last = view.blocks.last()
        return wanted.bounds(last.uids[-1] if last is not None and last.is_loaded else 0)
    return runs(view.saved)


def _places(members: int, count: int) -> list[int]:
    return list(compress(range(count), members.to_bytes(count, "little")))


def _cut(hits: Hits, surplus: int, backwards: bool) -> Hits:
    """The hits without the last of them, in the direction of the search."""
    if not surplus:
        return hits
    part = slice(surplus, None) if backwards else slice(None, -surplus)
    return Hits(hits.positions[part], hits.uids[part], hits.modseqs[part])


def _all(nodes: Sequence[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]

    def answer(known: Known, full: int) -> Answer:
        yes, no = full, 0
        for node in nodes:
            certain, never = node(known, full)
            yes &= certain
            no |= never
        return yes, no

    return answer


def _any(nodes: Sequence[Node]) -> Node:
    def answer(known: Known, full: int) -> Answer:
        yes, no = 0, full
        for node in nodes:
            certain, never = node(known, full)
            yes |= certain
            no &= never
        return yes, no

    return answer
