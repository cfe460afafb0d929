"""Attached files as checks see them: name, declared type, what the first bytes say, and the names inside an archive.

Bounded: of a file its first bytes are decoded, of a ZIP archive at most 4 MB, and of its list 500 names. A list that cannot
be read (damaged, larger than that) is simply unknown.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.proto.mime import Part
from mailbox_app.proto.text.message import Read
from mailbox_app.proto.transfer_decoding import transfer_decoder

ZIP_BYTES = 4_194_304
MAX_NAMES = 500
_PIECE_BYTES = 65_536
_HEAD_BYTES = 512
_NAME_CHARACTERS = 255

_MAGIC: Sequence[tuple[bytes, str]] = (
    (b"MZ", "exe"),
    (b"\x7fELF", "elf"),
    (b"\xfe\xed\xfa", "macho"),
    (b"\xcf\xfa\xed\xfe", "macho"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"Rar!\x1a\x07", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b", "gzip"),
    (b"MSCF", "cab"),
    (b"%PDF-", "pdf"),
    (b"{\\rtf", "rtf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "lnk"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"#!", "script"),
)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """One part that is a file."""

    name: str
    """As it names itself; "" when it does not."""
    content_type: str
    """As declared."""
    kind: str
    """What its first bytes are: exe, zip, pdf, ... ("" for anything else)."""
    size_bytes: int
    """Of the encoded body."""
    inner: Sequence[str] = ()
    """The names inside a ZIP archive, as far as they could be read."""
    encrypted: bool = False
    """A ZIP archive of which something needs a password."""


def read_file(read: Read, part: Part, name: str) -> AttachedFile:
    """Look at a part's first bytes and, when it is an archive, at its list. Blocks as long as reading it takes."""
    size_bytes = part.body_end - part.body_start
    head = _decoded(read, part, _HEAD_BYTES)
    kind = kind_of(head)
    inner: Sequence[str] = ()
    encrypted = False
    if kind == "zip" and size_bytes <= ZIP_BYTES * 3 // 2:
        inner, encrypted = _listed(_decoded(read, part, ZIP_BYTES))
    return AttachedFile(name, part.content_type.decode("latin-1"), kind, size_bytes, inner, encrypted)


def kind_of(head: bytes) -> str:
    """What a file's first bytes are."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _decoded(read: Read, part: Part, limit: int) -> bytes:
    transfer = transfer_decoder(part.encoding) or transfer_decoder(b"binary")
    assert transfer is not None
    out: list[bytes] = []
    room, position = limit, part.body_start
    step = min(_PIECE_BYTES, limit * 2)
    while room > 0 and position < part.body_end:
        piece = read(position, min(step, part.body_end - position))
        if not piece:
            break
        position += len(piece)
        data = transfer.feed(piece)
        if position >= part.body_end:
            data += transfer.finish()
        out.append(data)
        room -= len(data)
    return b"".join(out)[:limit]


def _listed(data: bytes) -> tuple[Sequence[str], bool]:
    """The names in a ZIP archive, and whether something in it is encrypted."""
    try:
        if _entry_count(data) > MAX_NAMES * 4:  # a list so long is made to cost time
            return (), False
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()[:MAX_NAMES]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error, IndexError, EOFError):
        return (), False
    return [entry.filename[:_NAME_CHARACTERS] for entry in entries], any(entry.flag_bits & 1 for entry in entries)


def _entry_count(data: bytes) -> int:
    """Central directory entries, counted by their marks: a bound on what listing them costs."""
    return data.count(b"PK\x01\x02")
