"""Body sections as byte ranges of the stored file: nothing is parsed again, nothing larger than a piece is in memory.

The part table made at delivery says where each part lies. Header subsets come from the stored header block by one
regular expression per section.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.proto.header import Header
from mailbox_app.proto.imap.fetch import Body, Kind
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.store.interface import Account

_READ_BYTES = 1 << 17
_HEADER_BYTES = 4 << 20
"""The largest header block that is taken apart; the rest of a larger one is left out of header subsets."""


class CutShort(Exception):
    """A file ended, or could not be read, inside an answer that was already begun."""


def header_answer(item: Body) -> Callable[[bytes], bytes]:
    """What turns a header block into a header section's literal: all of it or the fields named. RFC 9051 6.4.5.1."""
    subset = _subset(item)

    def answer(block: bytes) -> bytes:
        data = block if subset is None else subset(block)
        if item.count is not None:
            data = data[item.offset : item.offset + item.count]
        return b"{%d}\r\n%b" % (len(data), data)

    return answer


def _subset(item: Body) -> Callable[[bytes], bytes] | None:
    if item.kind is Kind.FIELDS:
        names = b"|".join(re.escape(name) for name in item.names)
        # Possessive: linear on any input.
        wanted = re.compile(
            rb"^(?:" + names + rb")[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)", re.IGNORECASE | re.MULTILINE
        ).findall
        return lambda block: _with_end(b"".join(wanted(block)))
    if item.kind is Kind.FIELDS_NOT:
        unwanted = frozenset(item.names)
        return lambda block: _with_end(
            b"".join([block[f.start : f.end] for f in Header.parse(block).fields if f.key not in unwanted])
        )
    return None


def _with_end(fields: bytes) -> bytes:
    """Fields with the empty line that ends a header."""
    return fields + b"\r\n" if not fields or fields.endswith(b"\n") else fields + b"\r\n\r\n"


class BodyReader:
    """Reads parts of the messages of one mailbox; blocks."""

    def __init__(self, account: Account, mailbox_id: MailboxId) -> None:
        self._account = account
        self._mailbox_id = mailbox_id

    def open(self, uid: Uid) -> BinaryIO | None:
        """The message's file; None when it was expunged."""
        try:
            return self._account.open_message(self._mailbox_id, uid)
        except StoreError as error:
            if error.temporary:
                raise
            return None

    def read_header(self, uid: Uid) -> bytes:
        """The header block of a message from its file."""
        row = next(iter(self._account.rendered(self._mailbox_id, [uid], ["parts"])), None)
        opened = self.open(uid) if row is not None else None
        if row is None or opened is None:
            return b"\r\n"
        with opened:
            end = PartTable.decode(row[1]).part(0).body_start  # type: ignore[arg-type]
            return os.pread(opened.fileno(), min(end, _HEADER_BYTES), 0)

    def answers(self, opened: BinaryIO, items: Sequence[Body], parts: bytes) -> Iterator[bytes]:
        """Label and value of each section of one message, in pieces."""
        descriptor = opened.fileno()
        size = os.fstat(descriptor).st_size
        table = PartTable.decode(parts) if parts else None
        separator = b""
        for item in items:
            found = _located(item, table, size)
            if found is None:
                yield b"%b%b NIL" % (separator, item.label)
            elif item.kind in (Kind.FIELDS, Kind.FIELDS_NOT):
                start, end = found
                block = os.pread(descriptor, min(end - start, _HEADER_BYTES), start)
                yield b"%b%b %b" % (separator, item.label, header_answer(item)(block))
            else:
                start, end = _partial(item, *found)
                yield b"%b%b {%d}\r\n" % (separator, item.label, end - start)
                yield from _read(descriptor, start, end)
            separator = b" "


def _located(item: Body, table: PartTable | None, size: int) -> tuple[int, int] | None:
    """The byte range a section means; None when there is no such part."""
    if table is None:
        return 0, size
    part: Part | None = table.find(item.part)
    if part is None:
        return None
    if item.kind is Kind.MIME:
        return part.header_start, part.body_start
    if item.kind is Kind.WHOLE:
        return (part.body_start, part.body_end) if item.part else (0, size)
    message = table.embedded(part) if item.part else part
    if message is None:
        return None
    if item.kind is Kind.TEXT:
        return message.body_start, message.body_end
    return message.header_start, message.body_start


def _partial(item: Body, start: int, end: int) -> tuple[int, int]:
    if item.count is None:
        return start, end
    first = min(start + item.offset, end)
    return first, min(first + item.count, end)


def _read(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        try:
            piece = os.pread(descriptor, min(_READ_BYTES, end - start), start)
        except OSError as error:
            raise CutShort from error
        if not piece:
            raise CutShort
        yield piece
        start += len(piece)
