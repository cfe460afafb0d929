"""Body sections as byte ranges of the stored file: nothing is parsed again, nothing larger than a piece is in memory.

The part table made at delivery says where each part lies. Header subsets come from the stored header block by one
regular expression per section. BINARY undoes the transfer encoding on the way: a large part is decoded twice, once for
its size (which goes first on the wire) and once to be sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mailbox_app.errors import StoreError
from mailbox_app.ids import MailboxId, Uid
from mailbox_app.proto.header import Header
from mailbox_app.proto.imap.fetch import Body, Kind
from mailbox_app.proto.mime import Part, PartTable
from mailbox_app.proto.transfer_decoding import IDENTITY, transfer_decoder
from mailbox_app.store.interface import Account

_READ_BYTES = 1 << 18
_HEADER_BYTES = 4 << 20
"""The largest header block that is taken apart; the rest of a larger one is left out of header subsets."""
_DECODE_AT_ONCE_BYTES = 1 << 20


class CutShort(Exception):
    """A file ended, or could not be read, inside an answer that was already begun."""


class UnknownEncoding(Exception):
    """A part cannot be decoded: nobody knows its content transfer encoding. RFC 3516 4.3."""


def header_answer(item: Body) -> Callable[[bytes], bytes]:
    """What turns a header block into a header section's literal: all of it or the fields named. RFC 9051 6.4.5.1."""
    subset = _subset(item)

    def answer(block: bytes) -> bytes:
        data = block if subset is None else subset(block)
        if item.offset or item.count is not None:
            data = _sliced(item, data)
        return b"{%d}\r\n%b" % (len(data), data)

    return answer


def _sliced(item: Body, data: bytes) -> bytes:
    return data[item.offset :] if item.count is None else data[item.offset : item.offset + item.count]


def _subset(item: Body) -> Callable[[bytes], bytes] | None:
    if item.kind is Kind.FIELDS:
        return _picker(item.names)
    if item.kind is Kind.FIELDS_NOT:
        unwanted = frozenset(item.names)
        return lambda block: _with_end(
            b"".join([block[f.start : f.end] for f in Header.parse(block).fields if f.key not in unwanted])
        )
    return None


def _picker(names: Sequence[bytes]) -> Callable[[bytes], bytes]:
    """What takes the fields of these names out of a header block.

    The pattern begins with a line end and the names' first letters, so that the engine looks at line beginnings only: four
    times as quick as one that ignores case and looks for `^` everywhere.
    """
    either = b"|".join(map(re.escape, names))
    letters = b"".join(sorted({re.escape(name[:1].lower() + name[:1].upper()) for name in names if name}))
    first = b"(?=[%b])" % letters if letters and all(names) else b""
    # Possessive: linear on any input.
    fields = rb"\n" + first + rb"(?i:" + either + rb")[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+"
    wanted = re.compile(fields).findall

    def pick(block: bytes) -> bytes:
        if not block.endswith(b"\n"):  # cut off
            block += b"\n" if block.endswith(b"\r") else b"\r\n"
        found = b"".join(wanted(b"\n" + block))
        # Each field brought the line end before it, so the last one's is missing.
        return b"%b\n\r\n" % found[1:] if found else b"\r\n"

    return pick


def _with_end(fields: bytes) -> bytes:
    """Fields with the empty line that ends a header."""
    return fields + b"\r\n" if not fields or fields.endswith(b"\n") else fields + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Section:
    """The value of one section."""

    size: int
    pieces: Callable[[], Iterator[bytes]]
    holds_nul: bool = False
    """Looked for in decoded sections only: it makes a literal8 of them."""


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


def answers(opened: BinaryIO, items: Sequence[Body], parts: bytes) -> Iterator[bytes]:
    """Label and value of each section of one message, in pieces; raises `UnknownEncoding` before the first piece."""
    descriptor = opened.fileno()
    table = PartTable.decode(parts) if parts else None
    return _pieces([(item, find_section(descriptor, item, table)) for item in items])


def _pieces(sections: Sequence[tuple[Body, Section | None]]) -> Iterator[bytes]:
    separator = b""
    for item, found in sections:
        if found is None:
            yield b"%b%b NIL" % (separator, item.label)
        elif item.size_only:
            yield b"%b%b %d" % (separator, item.label, found.size)
        else:
            mark = b"~" if found.holds_nul else b""
            yield b"%b%b %b{%d}\r\n" % (separator, item.label, mark, found.size)
            yield from found.pieces()
        separator = b" "


def find_section(descriptor: int, item: Body, table: PartTable | None) -> Section | None:
    """Where a section's bytes come from; None when there is no such part. `table` may be None for a whole message."""
    size = os.fstat(descriptor).st_size
    found = _located(item, table, size)
    if found is None:
        return None
    start, end = found
    if item.kind in (Kind.FIELDS, Kind.FIELDS_NOT):
        subset = _subset(item)
        assert subset is not None
        data = _sliced(item, subset(os.pread(descriptor, min(end - start, _HEADER_BYTES), start)))
        return Section(len(data), lambda: iter((data,)), b"\0" in data)
    encoding = _encoding(item, table) if item.decoded else None
    if encoding is not None:
        return _decoded(descriptor, item, start, end, encoding)
    start, end = _partial(item, start, end)
    holds_nul = item.decoded and any(b"\0" in piece for piece in read_range(descriptor, start, end))
    return Section(end - start, lambda: read_range(descriptor, start, end), holds_nul)


def _encoding(item: Body, table: PartTable | None) -> bytes | None:
    """The transfer encoding to undo; None when the section's bytes mean themselves: headers, messages, multiparts."""
    if table is None or item.kind not in (Kind.WHOLE, Kind.TEXT) or (item.kind is Kind.WHOLE and not item.part):
        return None
    part = table.find(item.part)
    if part is not None and item.kind is Kind.TEXT and item.part:
        part = table.embedded(part)
    if part is None or part.is_multipart or part.is_message or part.encoding in IDENTITY:
        return None
    return part.encoding


def _decoded(descriptor: int, item: Body, start: int, end: int, encoding: bytes) -> Section:
    if end - start <= _DECODE_AT_ONCE_BYTES:
        data = _sliced(item, b"".join(_decoding(descriptor, start, end, encoding)))
        return Section(len(data), lambda: iter((data,)), b"\0" in data)
    size = 0
    holds_nul = False
    for piece in _cut(item, _decoding(descriptor, start, end, encoding)):
        size += len(piece)
        holds_nul = holds_nul or b"\0" in piece
    return Section(size, lambda: _cut(item, _decoding(descriptor, start, end, encoding)), holds_nul)


def _decoding(descriptor: int, start: int, end: int, encoding: bytes) -> Iterator[bytes]:
    decoder = transfer_decoder(encoding)
    if decoder is None:
        raise UnknownEncoding
    for piece in read_range(descriptor, start, end):
        yield decoder.feed(piece)
    yield decoder.finish()


def _cut(item: Body, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The item's partial range of what comes in pieces."""
    skip, left = item.offset, item.count
    for piece in pieces:
        if skip >= len(piece):
            skip -= len(piece)
            continue
        wanted = piece[skip:] if left is None else piece[skip : skip + left]
        skip = 0
        yield wanted
        if left is not None:
            left -= len(wanted)
            if not left:
                return


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
    first = min(start + item.offset, end)
    return first, end if item.count is None else min(first + item.count, end)


def read_range(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a range in pieces; `CutShort` when the file has fewer."""
    while start < end:
        try:
            piece = os.pread(descriptor, min(_READ_BYTES, end - start), start)
        except OSError as error:
            raise CutShort from error
        if not piece:
            raise CutShort
        yield piece
        start += len(piece)
