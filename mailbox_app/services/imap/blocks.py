"""A selected mailbox as blocks of UIDs: all are counted, those that a command asked for are loaded.

Positions are zero-based over the whole mailbox. A block has the messages of `2 ** bits` consecutive UIDs, so which block
a UID is in is known without reading any, and which one a position is in follows from the counts.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress, groupby

from mailbox_app.store.model import BlockCount

_FEW = 16
"""Up to so many removals one by one; more rebuild the arrays."""


class Block:
    """The messages of one block; the arrays are empty until it is loaded."""

    __slots__ = ("count", "flags", "is_loaded", "modseqs", "number", "uids")

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count
        self.unload()

    def load(self, uids: array[int], flags: array[int], modseqs: array[int]) -> None:
        """Take these arrays; the caller made sure that they have as many messages as are counted."""
        self.uids, self.flags, self.modseqs = uids, flags, modseqs
        self.is_loaded = True

    def unload(self) -> None:
        """Know only the count."""
        self.is_loaded = False
        self.uids, self.flags, self.modseqs = array("I"), array("Q"), array("Q")

    def find(self, uid: int) -> int | None:
        """The place of a UID within the block."""
        uids = self.uids
        if not uids:
            return None
        place = uid - uids[0]  # where nothing was removed
        if 0 <= place < len(uids) and uids[place] == uid:
            return place
        place = bisect_left(uids, uid)
        return place if place < len(uids) and uids[place] == uid else None

    def remove(self, places: Sequence[int]) -> None:
        """Take these places (ascending) out."""
        if len(places) <= _FEW:
            for place in reversed(places):
                del self.uids[place], self.flags[place], self.modseqs[place]
        else:
            keep = bytearray(b"\1") * len(self.uids)
            for place in places:
                keep[place] = 0
            self.uids = array("I", compress(self.uids, keep))
            self.flags = array("Q", compress(self.flags, keep))
            self.modseqs = array("Q", compress(self.modseqs, keep))
        self.count = len(self.uids)


class Blocks:
    """All blocks of one view that have messages, ascending."""

    __slots__ = ("_blocks", "_numbers", "_starts", "bits")

    def __init__(self, bits: int, counts: Iterable[BlockCount]) -> None:
        self.bits = bits
        self._blocks = [Block(each.number, each.message_count) for each in counts]
        self._renumber()

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    @property
    def count(self) -> int:
        """Messages in all."""
        return self._starts[-1]

    def _renumber(self) -> None:
        self._numbers = [block.number for block in self._blocks]
        self._starts = list(accumulate((block.count for block in self._blocks), initial=0))

    def get(self, number: int) -> Block | None:
        """The block of this number, if it has messages."""
        place = bisect_left(self._numbers, number)
        return self._blocks[place] if place < len(self._numbers) and self._numbers[place] == number else None

    def at(self, position: int) -> tuple[Block, int]:
        """The block a position is in, and the place within it."""
        place = bisect_right(self._starts, position) - 1
        return self._blocks[place], position - self._starts[place]

    # what is to be loaded
    def missing(self, positions: Sequence[int] | None) -> list[int]:
        """Numbers of the blocks, not loaded yet, that these ascending positions are in."""
        if positions is None:
            return [block.number for block in self._blocks if not block.is_loaded]
        found = []
        for block, _, _ in self._parts(positions):
            if not block.is_loaded:
                found.append(block.number)
        return found

    def missing_between(self, bounds: Iterable[tuple[int, int]]) -> list[int]:
        """Numbers of the blocks, not loaded yet, in these ascending UID ranges."""
        found: list[int] = []
        done = 0
        for low, high in bounds:
            first = max(done, bisect_left(self._numbers, low >> self.bits))
            done = max(first, bisect_right(self._numbers, high >> self.bits))
            found += [block.number for block in self._blocks[first:done] if not block.is_loaded]
        return found

    def missing_of(self, uids: Iterable[int]) -> list[int]:
        """Numbers of the blocks, not loaded yet, that these UIDs would be in."""
        bits = self.bits
        wanted = sorted({uid >> bits for uid in uids})
        return [number for number in wanted if (block := self.get(number)) is not None and not block.is_loaded]

    def last(self) -> Block | None:
        """The block with the highest UID."""
        return self._blocks[-1] if self._blocks else None

    # loaded positions
    def _parts(self, positions: Sequence[int]) -> Iterator[tuple[Block, int, Sequence[int]]]:
        """(block, position of its first message, the positions in it)."""
        begin, length = 0, len(positions)
        while begin < length:
            place = bisect_right(self._starts, positions[begin]) - 1
            stop = self._starts[place + 1]
            end = length if positions[-1] < stop else bisect_left(positions, stop, begin)
            part = positions if end - begin == length else positions[begin:end]
            yield self._blocks[place], self._starts[place], part
            begin = end

    def _column(self, name: str, code: str, positions: Sequence[int]) -> Sequence[int]:
        result = array(code)
        for block, start, part in self._parts(positions):
            assert block.is_loaded, "these messages are not loaded"
            column: array[int] = getattr(block, name)
            if part[-1] - part[0] + 1 == len(part):
                piece = column[part[0] - start : part[-1] - start + 1]
                if len(piece) == len(positions):
                    return piece
                result += piece
            else:
                result.extend([column[position - start] for position in part])
        return result

    def uids_at(self, positions: Sequence[int]) -> Sequence[int]:
        """The UIDs of ascending, loaded positions."""
        return self._column("uids", "I", positions)

    def flags_at(self, positions: Sequence[int]) -> Sequence[int]:
        """Their flags."""
        return self._column("flags", "Q", positions)

    def modseqs_at(self, positions: Sequence[int]) -> Sequence[int]:
        """Their modseqs."""
        return self._column("modseqs", "Q", positions)

    def place(self, uid: int) -> int:
        """The position of the first message with at least this UID; its block is loaded."""
        number = uid >> self.bits
        place = bisect_left(self._numbers, number)
        start = self._starts[place]
        if place < len(self._numbers) and self._numbers[place] == number and uid & (1 << self.bits) - 1:
            block = self._blocks[place]
            assert block.is_loaded, "these messages are not loaded"
            return start + bisect_left(block.uids, uid)
        return start

    def index_of(self, uid: int) -> int | None:
        """The position of a UID whose block is loaded; None also when it is not."""
        number = uid >> self.bits
        place = bisect_left(self._numbers, number)
        if place == len(self._numbers) or self._numbers[place] != number:
            return None
        within = self._blocks[place].find(uid)
        return None if within is None else self._starts[place] + within

    # changes
    def by_block(self, uids: Iterable[int]) -> Iterator[tuple[Block, int, list[int]]]:
        """(block, position of its first message, UIDs) for ascending UIDs; those in no block are left out."""
        bits = self.bits
        for number, group in groupby(uids, lambda uid: uid >> bits):
            place = bisect_left(self._numbers, number)
            if place < len(self._numbers) and self._numbers[place] == number:
                yield self._blocks[place], self._starts[place], list(group)

    def append(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """New messages (uid, flags, modseq), ascending, behind all others; a block that is not loaded only counts them."""
        for number, group in groupby(rows, lambda row: row[0] >> self.bits):
            part = list(group)
            block = self.last()
            if block is None or block.number != number:
                block = Block(number, 0)
                block.is_loaded = True
                self._blocks.append(block)
            block.count += len(part)
            if block.is_loaded:
                for column, values in zip(
                    (block.uids, block.flags, block.modseqs), zip(*part, strict=True), strict=True
                ):
                    column.extend(values)
        self._renumber()

    def remove(self, uids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Take ascending UIDs out: (positions before, UIDs) of those that were there. In a block that is not loaded
        all are taken to have been there, and their positions are not told."""
        positions: list[int] = []
        removed: list[int] = []
        for block, start, group in self.by_block(uids):
            if not block.is_loaded:
                block.count -= len(group)
                removed += group
                continue
            places = [place for uid in group if (place := block.find(uid)) is not None]
            positions += [start + place for place in places]
            removed += [block.uids[place] for place in places]
            block.remove(places)
        if removed:
            self._blocks = [block for block in self._blocks if block.count > 0]
            self._renumber()
        return positions, removed
