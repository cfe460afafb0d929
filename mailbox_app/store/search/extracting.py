"""A stored message's header and body as the search index takes them: folded, and of endless ones the beginning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.text.folding import fold
from mailbox_app.proto.text.message import HEADER_BYTES, body_texts, header_text, read_header

_TEXT_LENGTH = 1 << 21
"""Characters of one side of a message. A longer text has nearly every trigram there is: reading it tells more."""
_FIRST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class MessageTexts:
    """What is indexed of one message."""

    header: str
    body: str
    cut: bool
    """There is more than this."""


UNREADABLE = MessageTexts("", "", cut=True)
"""Of a message whose structure is not known: always to be looked at."""


def extract(opened: BinaryIO, parts: bytes) -> MessageTexts:
    """Read an open message by its encoded part table; OSError when it cannot be read."""
    try:
        table = PartTable.decode(parts)
    except ValueError:
        return UNREADABLE
    descriptor = opened.fileno()
    first = os.pread(descriptor, _FIRST_BYTES, 0)

    def read(offset: int, size: int) -> bytes:
        if offset + size <= len(first):
            return first[offset : offset + size]
        return os.pread(descriptor, size, offset)

    root = table.part(0)
    header = fold(header_text(read_header(read, root)))
    cut = len(header) > _TEXT_LENGTH or root.body_start - root.header_start > HEADER_BYTES
    pieces: list[str] = []
    length = 0
    for text in body_texts(read, table):
        for piece in text:
            folded = fold(piece)
            pieces.append(folded)
            length += len(folded)
            if length > _TEXT_LENGTH:
                return MessageTexts(header[:_TEXT_LENGTH], "".join(pieces)[:_TEXT_LENGTH], cut=True)
        pieces.append("\n")
    return MessageTexts(header[:_TEXT_LENGTH], "".join(pieces), cut=cut)
