"""A message read once, in pieces, in constant memory: everything a listing will ever need comes out of one pass.

The scanner never fails and never recurses, whatever the bytes are: broken structure is read as the next best thing,
and what goes beyond `max_parts` or `max_depth` stays one opaque part. How the message is cut into chunks makes no
difference. Time is linear: bodies are only searched and counted by `bytes` methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from mailbox_app.proto.bodystructure import EMPTY_PART, Rendering, render_leaf, render_message, render_multipart
from mailbox_app.proto.envelope import ENVELOPE_FIELDS, render_envelope
from mailbox_app.proto.header import FIELD, unfold
from mailbox_app.proto.mime import CONTENT_FIELDS, NO_PARENT, Content, Row, encode_rows, read_content
from mailbox_app.proto.object_id import THREAD_FIELDS, email_id, thread_id

# A delimiter line is at most "--", a boundary, "--" and white space; a longer line is none.
_MAX_DELIMITER = 2_000
# Less than this waits for more: a sender of single bytes must not make us copy a long header for each.
_BATCH_BYTES = 16_384
# Headers of inner parts that are read, each and together: bounds what many small headers can grow into.
_PART_HEADER_BYTES = 65_536
_ALL_PART_HEADERS_BYTES = 1_048_576
_MAX_ADDRESSES = 10_000

_MESSAGE_FIELDS = ENVELOPE_FIELDS | CONTENT_FIELDS | THREAD_FIELDS


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a delivery computes once, so that no listing ever opens the file again."""

    envelope: bytes
    """The IMAP ENVELOPE value with its parentheses; strings are quoted or literals."""
    bodystructure: bytes
    """The IMAP BODYSTRUCTURE value with extension data."""
    body: bytes
    """The IMAP BODY value (without extension data)."""
    header: bytes
    """The raw header block with its empty line; b"" when longer than the scanner's limit (then read from the file)."""
    parts: bytes
    """The encoded part table: byte ranges of every MIME part (see `proto.mime`)."""
    email_id: bytes
    thread_id: bytes
    """See `proto.object_id`."""


class _Open:
    """A part whose end is not seen yet."""

    __slots__ = ("bodies", "boundary", "content", "envelope", "inner_envelope", "lines_before", "row", "structures")

    def __init__(self, content: Content, row: int, lines_before: int, envelope: bytes) -> None:
        self.content = content
        self.row = row
        self.lines_before = lines_before
        self.envelope = envelope
        self.inner_envelope = b""
        self.boundary = content.boundary
        self.bodies: list[bytes] = []
        self.structures: list[bytes] = []


def _first_values(header: bytes, wanted: frozenset[bytes]) -> Mapping[bytes, bytes]:
    """The first value of each wanted field, unfolded."""
    values: dict[bytes, bytes] = {}
    for name, value in FIELD.findall(header):
        if name and (key := name.lower()) in wanted and key not in values:
            values[key] = unfold(value)
    return values


class MessageScanner:
    """Reads one message by `feed` and answers with `finish`, each exactly as long as the message is."""

    def __init__(self, *, header_limit_bytes: int = 262_144, max_parts: int = 1_000, max_depth: int = 50) -> None:
        self._header_limit_bytes = header_limit_bytes
        self._max_parts = max(max_parts, 1)
        self._max_depth = max(max_depth, 1)
        self._inner_header_bytes = _ALL_PART_HEADERS_BYTES
        self._address_budget = [_MAX_ADDRESSES]

        self._waiting: list[bytes] = []  # what is not in the buffer yet
        self._waiting_bytes = 0
        self._buffer = b""
        self._base = 0  # offset of the buffer in the message
        self._size = 0
        self._counted = 0  # index in the buffer up to which line ends are counted
        self._lines = 0
        self._search = 0  # index in the buffer from which delimiter lines are not yet looked for
        self._only_counting = False  # no delimiter can follow: the rest is one body

        self._in_header = True
        self._header_start = 0  # offset in the message
        self._header_seen = 0  # index in the buffer from which the empty line is not yet looked for
        self._header_cut: bytes | None = None  # the kept beginning of a header beyond its limit

        self._rows: list[Row] = []
        self._open: list[_Open] = []
        self._delimiters: dict[bytes, tuple[int, bool]] = {}  # line -> (index in _open, whether it closes)
        self._root_header = b""
        self._result: Rendering = EMPTY_PART
        self._envelope = b""
        self._digest = hashlib.sha256()
        self._thread_values: Mapping[bytes, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the message."""
        self._size += len(data)
        self._digest.update(data)
        if self._only_counting:
            self._lines += data.count(b"\n")
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= _BATCH_BYTES:
            self._take_waiting()
            self._advance(final=False)

    def _take_waiting(self) -> None:
        pieces = [self._buffer, *self._waiting] if self._buffer else self._waiting
        self._buffer = b"".join(pieces)  # one bytes object alone is not copied
        self._waiting.clear()
        self._waiting_bytes = 0

    def finish(self) -> Rendered:
        """The message has ended."""
        if not self._only_counting:
            self._take_waiting()
            self._advance(final=True)
        self._count_lines(len(self._buffer))
        self._close_down_to(0, self._size)
        body, structure = self._result
        digest = self._digest.hexdigest()
        thread = thread_id(self._thread_values, digest)
        parts = encode_rows(self._rows)
        return Rendered(self._envelope, structure, body, self._root_header, parts, email_id(digest), thread)

    def _advance(self, *, final: bool) -> None:
        going = True
        while going:
            if self._in_header:
                going = self._read_header(final=final)
            elif self._delimiters:
                going = self._read_body(final=final)
            else:
                self._count_lines(len(self._buffer))
                self._only_counting = True
                self._buffer = b""
                self._counted = 0
                return
        self._drop_read()

    def _drop_read(self) -> None:
        """Forget what was examined, but for what the next decisions still look back on."""
        needed = self._search
        if self._in_header and self._header_cut is None:
            needed = self._header_start - self._base
        keep = needed - 2
        if keep > 0:
            self._count_lines(keep)
            self._buffer = self._buffer[keep:]
            self._base += keep
            self._counted -= keep
            self._search -= keep
            self._header_seen = max(self._header_seen - keep, 0)

    def _count_lines(self, upto: int) -> None:
        if upto > self._counted:
            self._lines += self._buffer.count(b"\n", self._counted, upto)
            self._counted = upto

    def _find_delimiter(self, stop: int, *, final: bool) -> tuple[int, int, tuple[int, bool]] | None:
        """The next delimiter line before `stop`: index of the line end before it, index after it, what it ends.

        Without one, `_search` is left where the next bytes may complete a line.
        """
        buffer = self._buffer
        position = self._search
        while True:
            hit = buffer.find(b"\n--", position, stop)
            if hit < 0:
                self._search = max(position, stop - 2)
                return None
            end = buffer.find(b"\n", hit + 3, hit + _MAX_DELIMITER)
            after = end + 1
            if end < 0:
                if len(buffer) >= hit + _MAX_DELIMITER:
                    position = hit + 3
                    continue
                if not final:
                    self._search = hit
                    return None
                end = after = len(buffer)
            found = self._delimiters.get(buffer[hit + 3 : end].rstrip(b" \t\r"))
            if found is not None:
                self._search = hit
                return hit, after, found
            position = end

    def _before_line_end(self, hit: int) -> int:
        """The line end before a delimiter belongs to the delimiter. RFC 2046 5.1.1."""
        return hit - 1 if hit and self._buffer[hit - 1] == 13 else hit

    def _read_body(self, *, final: bool) -> bool:
        found = self._find_delimiter(len(self._buffer), final=final)
        if found is None:
            return False
        hit, after, (index, closes) = found
        self._count_lines(self._before_line_end(hit))
        self._close_down_to(index + 1, self._base + self._before_line_end(hit))
        if closes:
            self._open[index].boundary = None
            self._set_delimiters()
            self._search = after - 1 if self._buffer[after - 1] == 10 else after
        else:
            self._begin_header(after)
        return True

    def _begin_header(self, index: int) -> None:
        """A part's header starts; beyond `max_parts` the whole rest of the message becomes one opaque part."""
        self._header_start = self._base + index
        self._header_seen = index
        self._header_cut = None
        self._search = max(index - 1, 0)
        if len(self._rows) + 1 >= self._max_parts and self._rows:
            self._add_part(b"", index, opaque=True)
            self._delimiters = {}
            self._in_header = False
        else:
            self._in_header = True

    def _find_header_end(self, start: int) -> int:
        """The index after the empty line, -1 while there is none."""
        buffer = self._buffer
        if self._header_cut is None:
            if buffer.startswith(b"\n", start):
                return start + 1
            if buffer.startswith(b"\r\n", start):
                return start + 2
        strict = buffer.find(b"\n\r\n", self._header_seen)
        bare = buffer.find(b"\n\n", self._header_seen, strict + 1 if strict >= 0 else len(buffer))
        if bare >= 0:
            return bare + 2
        return strict + 3 if strict >= 0 else -1

    def _read_header(self, *, final: bool) -> bool:
        start = self._header_start - self._base  # negative once the header was cut
        end = self._find_header_end(start)
        limit = len(self._buffer) if end < 0 else end
        found = self._find_delimiter(limit, final=final) if self._delimiters else None
        if found is not None:
            # the part ends within its header: the delimiter is met again as the end of its empty body
            hit = found[0]
            self._add_part(self._header_bytes(start, max(hit + 1, start)), max(self._before_line_end(hit), start, 0))
            self._search = hit
            return True
        if end < 0 and not final:
            self._wait_for_header(start)
            return False
        end = len(self._buffer) if end < 0 else end
        self._add_part(self._header_bytes(start, end), end)
        # the header's last line end may be the one before a delimiter; without one there is nothing left to find
        self._search = max(end - 1, 0)
        return True

    def _header_limit(self) -> int:
        return min(_PART_HEADER_BYTES, self._inner_header_bytes) if self._rows else self._header_limit_bytes

    def _header_bytes(self, start: int, end: int) -> bytes:
        if self._header_cut is not None:
            return self._header_cut
        limit = self._header_limit()
        if end - start <= limit:
            return self._buffer[start:end]
        self._header_cut = self._buffer[start : self._buffer.rfind(b"\n", start, start + limit) + 1]
        return self._header_cut

    def _wait_for_header(self, start: int) -> None:
        length = len(self._buffer)
        self._header_seen = max(self._header_seen, length - 2, 0)
        if not self._delimiters:
            self._search = length
        # what may still turn out to be a delimiter line is not yet header
        known = self._search + 1 if self._delimiters else length
        if self._header_cut is None and known - start > self._header_limit():
            self._header_bytes(start, known)
        if self._header_cut is not None:
            self._search = min(self._search, self._header_seen)

    def _add_part(self, header: bytes, body_index: int, *, opaque: bool = False) -> None:
        """A header is complete: open its part; a message's own header comes next."""
        stack, rows = self._open, self._rows
        parent = stack[-1] if stack else None
        is_message = parent is None or parent.content.is_message
        if parent is None:
            self._root_header = b"" if self._header_cut is not None else header
        else:
            self._inner_header_bytes -= len(header)
        values = _first_values(header, _MESSAGE_FIELDS if is_message else CONTENT_FIELDS)
        in_digest = parent is not None and parent.content.major == b"multipart" and parent.content.minor == b"digest"
        content = read_content(values, in_digest=in_digest)
        if opaque or (len(stack) >= self._max_depth - 1 and (content.boundary is not None or content.is_message)):
            content.major, content.minor, content.parameters, content.boundary = (
                b"application",
                b"octet-stream",
                (),
                None,
            )
        envelope = render_envelope(values, self._address_budget) if is_message else b""
        if parent is None:
            self._thread_values = values
        self._count_lines(body_index)
        body_start = self._base + body_index
        parent_row = NO_PARENT
        if parent is not None:
            parent_row = parent.row
            rows[parent_row].children += 1
        stack.append(_Open(content, len(rows), self._lines, envelope))
        kind = b"%b/%b" % (content.major, content.minor)
        rows.append(Row(self._header_start, body_start, body_start, 0, parent_row, 0, kind, content.encoding))
        self._in_header = False
        if content.boundary is not None:
            self._set_delimiters()
        elif content.is_message:
            self._begin_header(body_index)

    def _set_delimiters(self) -> None:
        delimiters: dict[bytes, tuple[int, bool]] = {}
        for index, part in enumerate(self._open):  # the innermost wins when two have one boundary
            if part.boundary is not None:
                delimiters[part.boundary] = (index, False)
                delimiters[part.boundary + b"--"] = (index, True)
        self._delimiters = delimiters

    def _close_down_to(self, depth: int, end: int) -> None:
        """All parts opened at or after `depth` end at the offset `end`, innermost first."""
        stack = self._open
        changed = False
        while len(stack) > depth:
            part = stack.pop()
            row = self._rows[part.row]
            end = max(end, row.body_start)
            row.body_end = end
            row.lines = max(self._lines - part.lines_before, 0)
            changed = changed or part.content.boundary is not None
            self._hand_up(part, self._render(part, row))
        if changed:
            self._set_delimiters()

    def _hand_up(self, part: _Open, rendering: Rendering) -> None:
        if not self._open:
            self._result = rendering
            self._envelope = part.envelope
            return
        parent = self._open[-1]
        parent.bodies.append(rendering[0])
        parent.structures.append(rendering[1])
        parent.inner_envelope = part.envelope

    def _render(self, part: _Open, row: Row) -> Rendering:
        content = part.content
        if content.boundary is not None:
            if not part.bodies:
                row.children = 1
                place = row.body_end
                self._rows.append(Row(place, place, place, 0, part.row, 0, b"text/plain", b"7bit"))
                return render_multipart(content, EMPTY_PART[:1], EMPTY_PART[1:])
            return render_multipart(content, part.bodies, part.structures)
        size = row.body_end - row.body_start
        if content.is_message:
            inner = part.bodies[0], part.structures[0]
            return render_message(content, size, row.lines, part.inner_envelope, inner)
        return render_leaf(content, size, row.lines)


def scan(data: bytes) -> Rendered:
    """Read a whole message at once."""
    scanner = MessageScanner()
    scanner.feed(data)
    return scanner.finish()
