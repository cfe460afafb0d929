"""One plan per FETCH: which columns of the index it needs, how a row becomes an answer, and the pieces to send.

FLAGS, UID and MODSEQ come from the session's arrays. What was rendered at delivery comes in batches from the index and is
formatted a batch at a time through one template. Only body parts open message files. `produce` blocks and is stepped
in a thread; between two steps no query and no more than one message file is open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from mailbox_app.ids import Uid
from mailbox_app.proto.dates import format_internal_date
from mailbox_app.proto.envelope import imap_string
from mailbox_app.proto.imap.fetch import PREVIEW_LAZY, Body, FetchRequest, Kind
from mailbox_app.proto.mime import PartTable
from mailbox_app.proto.text.preview import preview
from mailbox_app.services.imap.bodies import BodyReader, UnknownEncoding, answers, header_answer
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.interface import Account

_ARRAY_ROWS = 4_000
"""About 2 ms of the loop."""
_BATCH_ROWS = 250
_HEADER_ROWS = 100
"""Header blocks may have 256 KiB each."""
_PIECE_BYTES = 1 << 18
_LEAST_BYTES = 1 << 15
"""Of an answer from the index: smaller pieces cost more on their way than they gain by being early."""
_LAZY_PREVIEWS = 200
"""More than so many previews are not what a client that wants no wait is given."""
_COLUMNS = {
    "INTERNALDATE": "internal_seconds",
    "SAVEDATE": "saved_seconds",
    "RFC822.SIZE": "size_bytes",
    "ENVELOPE": "envelope",
    "BODY": "body",
    "BODYSTRUCTURE": "bodystructure",
    "EMAILID": "email_id",
    "THREADID": "thread_id",
}
_DATES = frozenset({"INTERNALDATE", "SAVEDATE"})
_FORMATS = {
    "UID": b"UID %d",
    "FLAGS": b"FLAGS %b",
    "MODSEQ": b"MODSEQ (%d)",
    "INTERNALDATE": b"INTERNALDATE %b",
    "SAVEDATE": b"SAVEDATE %b",
    "RFC822.SIZE": b"RFC822.SIZE %d",
    "ENVELOPE": b"ENVELOPE %b",
    "BODY": b"BODY %b",
    "BODYSTRUCTURE": b"BODYSTRUCTURE %b",
    "EMAILID": b"EMAILID (%b)",
    "THREADID": b"THREADID (%b)",
}
_HEADER_KINDS = (Kind.HEADER, Kind.FIELDS, Kind.FIELDS_NOT)

Column = Sequence[object]
Row = tuple[object, ...]


@dataclass(slots=True)
class Shortfall:
    """What an answer could not give."""

    expunged_count: int = 0
    """Messages that another session removed meanwhile."""
    lost_count: int = 0
    """Messages whose files are gone."""
    undecodable_count: int = 0
    """Messages with a part whose transfer encoding nobody knows."""


class FetchPlan:
    """How one FETCH is answered. `shortfall` tells afterwards what could not be given."""

    def __init__(self, view: Selected, request: FetchRequest, also: Sequence[str] = (), *, uid: bool) -> None:
        self._view = view
        self.shortfall = Shortfall()
        items = [item for item in also if item not in request.items] + list(request.items)
        if uid and "UID" not in items and not view.uidonly:
            items.insert(0, "UID")
        if request.changed_since is not None and "MODSEQ" not in items:
            items.append("MODSEQ")
        self._preview = PREVIEW_LAZY if PREVIEW_LAZY in items and "PREVIEW" not in items else "PREVIEW"
        self._previews = "PREVIEW" in items or PREVIEW_LAZY in items
        self._simple = [item for item in items if isinstance(item, str) and item not in ("PREVIEW", PREVIEW_LAZY)]
        bodies = [item for item in items if isinstance(item, Body)]
        self._headers = [item for item in bodies if _from_header_block(item)]
        self._bodies = [item for item in bodies if item not in self._headers]
        columns = [_COLUMNS[item] for item in self._simple if item in _COLUMNS]
        if self._headers:
            columns.append("header")
        if self._previews or any(item.part or item.decoded or item.kind is not Kind.WHOLE for item in self._bodies):
            columns.append("parts")
        self._columns = columns
        fields = [_FORMATS[item] for item in self._simple]
        fields += [item.label.replace(b"%", b"%%") + b" %b" for item in self._headers]
        self._template = (b"* %d UIDFETCH (" if view.uidonly else b"* %d FETCH (") + b" ".join(fields)  # RFC 9586 3.3
        if not self.opens_files:
            self._template += b")\r\n"
        elif fields:
            self._template += b" "

    @property
    def opens_files(self) -> bool:
        """Whether the index is not enough."""
        return bool(self._bodies) or self._previews

    @property
    def from_arrays(self) -> bool:
        """Whether the session's arrays are enough."""
        return not self._columns and not self.opens_files

    def array_lines(self, indexes: Sequence[int]) -> Iterator[bytes]:
        """The whole answer, in pieces; quick enough for the loop."""
        template = self._template.decode("ascii").replace("%b", "%s")
        for start in range(0, len(indexes), _ARRAY_ROWS):
            batch = indexes[start : start + _ARRAY_ROWS]
            columns = [self._array_column(item, batch) for item in self._simple]
            numbers = self._numbers(batch)
            yield "".join([template % row for row in zip(numbers, *columns, strict=True)]).encode("ascii")

    def _numbers(self, batch: Sequence[int]) -> Sequence[int]:
        """What stands in front of FETCH."""
        return self._view.uids_at(batch) if self._view.uidonly else [index + 1 for index in batch]

    def _array_column(self, item: str, batch: Sequence[int]) -> Column:
        view = self._view
        if item == "FLAGS":
            texts, flags = view.texts, view.flags_at(batch)
            return [texts[value] for value in flags]
        return view.uids_at(batch) if item == "UID" else view.modseqs_at(batch)

    def produce(self, mail: Callable[[], Account], indexes: Sequence[int]) -> Iterator[bytes]:
        """The whole answer, in pieces; blocks."""
        account = mail()
        size = _HEADER_ROWS if self._headers else _BATCH_ROWS
        waiting: list[bytes] = []
        held = 0
        for start in range(0, len(indexes), size):
            batch = indexes[start : start + size]
            batch, rows = self._rows(account, batch)
            if not batch:
                continue
            heads = [self._template % row for row in self._filled(account, batch, rows)]
            if self.opens_files:
                lazy = self._preview == PREVIEW_LAZY and len(indexes) > _LAZY_PREVIEWS
                yield from self._with_files(account, batch, rows, heads, lazy=lazy)
                continue
            waiting += heads
            held += sum(map(len, heads))
            if held >= _LEAST_BYTES:
                yield b"".join(waiting)
                waiting.clear()
                held = 0
        if waiting:
            yield b"".join(waiting)

    def _rows(self, account: Account, batch: Sequence[int]) -> tuple[Sequence[int], Sequence[Row]]:
        """The index's rows of the batch, and the positions that have one."""
        if not self._columns:
            return batch, [()] * len(batch)
        view = self._view
        uids = [Uid(uid) for uid in view.uids_at(batch)]
        rows = list(account.rendered(view.mailbox_id, uids, self._columns))
        if len(rows) != len(batch):
            self.shortfall.expunged_count += len(batch) - len(rows)
            there = {row[0] for row in rows}
            batch = [index for index, uid in zip(batch, uids, strict=True) if uid in there]
        return batch, rows

    def _filled(self, account: Account, batch: Sequence[int], rows: Sequence[Row]) -> Iterator[Row]:
        stored = dict(zip(["uid", *self._columns], zip(*rows, strict=True), strict=False))
        columns: list[Column] = [self._numbers(batch)]
        for item in self._simple:
            if item in _DATES:
                columns.append(list(map(format_internal_date, stored[_COLUMNS[item]])))
            elif item in _COLUMNS:
                columns.append(stored[_COLUMNS[item]])
            elif item == "FLAGS":
                columns.append([text.encode("ascii") for text in self._array_column(item, batch)])  # type: ignore[attr-defined]
            else:
                columns.append(self._array_column(item, batch))
        if self._headers:
            blocks = self._whole_headers(account, batch, stored["header"])
            columns += [list(map(header_answer(item), blocks)) for item in self._headers]
        return zip(*columns, strict=True)

    def _whole_headers(self, account: Account, batch: Sequence[int], blocks: Sequence[bytes]) -> Sequence[bytes]:
        """The header blocks; one too long for the index is read from its file."""
        if all(blocks):
            return blocks
        reader = BodyReader(account, self._view.mailbox_id)
        uids = self._view.uids_at(batch)
        return [block or reader.read_header(Uid(uid)) for uid, block in zip(uids, blocks, strict=True)]

    def _with_files(
        self, account: Account, batch: Sequence[int], rows: Sequence[Row], heads: Sequence[bytes], *, lazy: bool
    ) -> Iterator[bytes]:
        uids = [Uid(uid) for uid in self._view.uids_at(batch)]
        if lazy and not self._bodies:
            yield b"".join([b"%bPREVIEW NIL)\r\n" % head for head in heads])
            return
        has_parts = "parts" in self._columns
        known = dict(zip(uids, zip(heads, rows, strict=True), strict=True))
        pieces: list[bytes] = []
        held = 0
        for uid, opened in account.open_messages(self._view.mailbox_id, uids):
            head, row = known.pop(uid)
            if opened is None:
                self.shortfall.lost_count += 1
                continue
            with opened:
                parts: bytes = row[-1] if has_parts else b""  # type: ignore[assignment]
                for piece in self._answer(head, opened, parts, lazy=lazy):
                    pieces.append(piece)
                    held += len(piece)
                    if held >= _PIECE_BYTES:
                        yield b"".join(pieces)
                        pieces.clear()
                        held = 0
        self.shortfall.expunged_count += len(known)
        if pieces:
            yield b"".join(pieces)

    def _answer(self, head: bytes, opened: BinaryIO, parts: bytes, *, lazy: bool) -> Iterator[bytes]:
        """The answer of one message, in pieces; nothing when a section cannot be decoded."""
        try:
            found = answers(opened, self._bodies, parts)
        except UnknownEncoding:
            self.shortfall.undecodable_count += 1
            return
        yield head
        if self._previews:
            yield b"PREVIEW %b" % (b"NIL" if lazy else _preview_of(opened, parts))
            if self._bodies:
                yield b" "
        yield from found
        yield b")\r\n"


def _from_header_block(item: Body) -> bool:
    """Whether the stored header block is enough: not for decoded sections, whose NULs must be looked for."""
    return not item.part and not item.decoded and item.kind in _HEADER_KINDS


def _preview_of(opened: BinaryIO, parts: bytes) -> bytes:
    descriptor = opened.fileno()
    text = preview(lambda offset, size: os.pread(descriptor, size, offset), PartTable.decode(parts))
    return imap_string(text.encode("utf-8"))
