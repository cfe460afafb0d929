"""One plan per FETCH: which columns of the index it needs, how a row becomes an answer, and the pieces to send.

FLAGS, UID and MODSEQ come from the session's arrays. What was rendered at delivery comes in batches from the index and is
formatted a batch at a time through one template. Only body parts open message files. `produce` blocks and is stepped
in a thread; between two steps no query and no more than one message file is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mailbox_app.ids import Uid
from mailbox_app.proto.dates import format_internal_date
from mailbox_app.proto.imap.fetch import Body, FetchRequest, Kind
from mailbox_app.services.imap.bodies import BodyReader, header_answer
from mailbox_app.services.imap.selected import Selected
from mailbox_app.store.interface import Account

_ARRAY_ROWS = 4_000
"""About 2 ms of the loop."""
_BATCH_ROWS = 250
_HEADER_ROWS = 100
"""Header blocks may have 256 KiB each."""
_PIECE_BYTES = 1 << 17
_COLUMNS = {
    "INTERNALDATE": "internal_seconds",
    "RFC822.SIZE": "size_bytes",
    "ENVELOPE": "envelope",
    "BODY": "body",
    "BODYSTRUCTURE": "bodystructure",
}
_FORMATS = {
    "UID": b"UID %d",
    "FLAGS": b"FLAGS %b",
    "MODSEQ": b"MODSEQ (%d)",
    "INTERNALDATE": b"INTERNALDATE %b",
    "RFC822.SIZE": b"RFC822.SIZE %d",
    "ENVELOPE": b"ENVELOPE %b",
    "BODY": b"BODY %b",
    "BODYSTRUCTURE": b"BODYSTRUCTURE %b",
}
_HEADER_KINDS = (Kind.HEADER, Kind.FIELDS, Kind.FIELDS_NOT)

Column = Sequence[object]


class FetchPlan:
    """How one FETCH is answered. `missing_count` tells afterwards how many messages were gone."""

    def __init__(self, view: Selected, request: FetchRequest, also: Sequence[str] = (), *, uid: bool) -> None:
        self._view = view
        self.missing_count = 0
        items = [item for item in also if item not in request.items] + list(request.items)
        if uid and "UID" not in items:
            items.insert(0, "UID")
        if request.changed_since is not None and "MODSEQ" not in items:
            items.append("MODSEQ")
        self._simple = [item for item in items if isinstance(item, str)]
        bodies = [item for item in items if isinstance(item, Body)]
        self._headers = [item for item in bodies if not item.part and item.kind in _HEADER_KINDS]
        self._bodies = [item for item in bodies if item not in self._headers]
        columns = [_COLUMNS[item] for item in self._simple if item in _COLUMNS]
        if self._headers:
            columns.append("header")
        if any(item.part or item.kind is not Kind.WHOLE for item in self._bodies):
            columns.append("parts")
        self._columns = columns
        fields = [_FORMATS[item] for item in self._simple]
        fields += [item.label.replace(b"%", b"%%") + b" %b" for item in self._headers]
        self._template = b"* %d FETCH (" + b" ".join(fields)
        if not self._bodies:
            self._template += b")\r\n"
        elif fields:
            self._template += b" "

    @property
    def from_arrays(self) -> bool:
        """Whether the session's arrays are enough."""
        return not self._columns and not self._bodies

    def array_lines(self, indexes: Sequence[int]) -> Iterator[bytes]:
        """The whole answer, in pieces; quick enough for the loop."""
        template = self._template.decode("ascii").replace("%b", "%s")
        for start in range(0, len(indexes), _ARRAY_ROWS):
            batch = indexes[start : start + _ARRAY_ROWS]
            columns = [self._array_column(item, batch) for item in self._simple]
            numbers = [index + 1 for index in batch]
            yield "".join([template % row for row in zip(numbers, *columns, strict=True)]).encode("ascii")

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
        for start in range(0, len(indexes), size):
            batch = indexes[start : start + size]
            batch, rows = self._rows(account, batch)
            if not batch:
                continue
            heads = [self._template % row for row in self._filled(account, batch, rows)]
            if self._bodies:
                yield from self._with_bodies(account, batch, rows, heads)
            else:
                yield b"".join(heads)

    def _rows(self, account: Account, batch: Sequence[int]) -> tuple[Sequence[int], Sequence[tuple[object, ...]]]:
        """The index's rows of the batch, and the positions that have one."""
        if not self._columns:
            return batch, [()] * len(batch)
        view = self._view
        uids = [Uid(uid) for uid in view.uids_at(batch)]
        rows = list(account.rendered(view.mailbox_id, uids, self._columns))
        if len(rows) != len(batch):
            self.missing_count += len(batch) - len(rows)
            there = {row[0] for row in rows}
            batch = [index for index, uid in zip(batch, uids, strict=True) if uid in there]
        return batch, rows

    def _filled(
        self, account: Account, batch: Sequence[int], rows: Sequence[tuple[object, ...]]
    ) -> Iterator[tuple[object, ...]]:
        stored = dict(zip(["uid", *self._columns], zip(*rows, strict=True), strict=False))
        columns: list[Column] = [[index + 1 for index in batch]]
        for item in self._simple:
            if item == "INTERNALDATE":
                columns.append(list(map(format_internal_date, stored["internal_seconds"])))
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

    def _with_bodies(
        self, account: Account, batch: Sequence[int], rows: Sequence[tuple[object, ...]], heads: Sequence[bytes]
    ) -> Iterator[bytes]:
        reader = BodyReader(account, self._view.mailbox_id)
        has_parts = "parts" in self._columns
        pieces: list[bytes] = []
        held = 0
        for index, row, head in zip(batch, rows, heads, strict=True):
            parts: bytes = row[-1] if has_parts else b""  # type: ignore[assignment]
            opened = reader.open(Uid(self._view.uid(index)))
            if opened is None:
                self.missing_count += 1
                continue
            with opened:
                pieces.append(head)
                for piece in reader.answers(opened, self._bodies, parts):
                    pieces.append(piece)
                    held += len(piece)
                    if held >= _PIECE_BYTES:
                        yield b"".join(pieces)
                        pieces.clear()
                        held = 0
                pieces.append(b")\r\n")
        if pieces:
            yield b"".join(pieces)
