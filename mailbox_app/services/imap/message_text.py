"""Whether a message contains a text: the check of a search's candidates, letter for letter what the index holds.

What is searched is `proto.text.message`'s text; letters are equal when `proto.text.folding` says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.text.folding import fold
from mailbox_app.proto.text.message import body_texts, header_text, read_header

_FIRST_BYTES = 1 << 16
"""Most messages are read with one call."""


class MessageText:
    """Searches one open message; blocks."""

    def __init__(self, opened: BinaryIO, table: PartTable) -> None:
        self._descriptor = opened.fileno()
        self._table = table
        self._first = os.pread(self._descriptor, _FIRST_BYTES, 0)

    def contains(self, needles: Sequence[str], *, body_only: bool) -> list[bool]:
        """For each text (folded or not) whether it is there; every part is decoded once for all of them."""
        wanted = [fold(needle) for needle in needles]
        found = [not needle for needle in wanted]
        overlap = max(map(len, wanted), default=0) - 1
        if all(found):
            return found
        for pieces in self._texts(body_only=body_only):
            tail = ""
            for piece in pieces:
                text = tail + fold(piece)
                for number, needle in enumerate(wanted):
                    if not found[number] and needle in text:
                        found[number] = True
                if all(found):
                    return found
                tail = text[-overlap:] if overlap else ""
        return found

    def _texts(self, *, body_only: bool) -> Iterator[Iterator[str]]:
        if not body_only:
            yield iter((header_text(read_header(self._read, self._table.part(0))),))
        yield from body_texts(self._read, self._table)

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size <= len(self._first):
            return self._first[offset : offset + size]
        return os.pread(self._descriptor, size, offset)
