"""DKIM's canonical forms (RFC 6376 3.4), in constant memory and by whole-chunk operations.

One piece is worked on at a time and is at most 64 KiB, so another thread gets the interpreter after about a
millisecond; the hash itself runs without holding it. How a body is cut makes no difference.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

from mailbox_app.proto.header import Header

PIECE_BYTES = 65_536

_BLANKS = re.compile(rb"[ \t]+")


def relaxed_field(name: bytes, value: bytes) -> bytes:
    """One header field in relaxed form, without the line end. RFC 6376 3.4.2."""
    value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return name.lower().rstrip(b" \t") + b":" + _BLANKS.sub(b" ", value).strip(b" \t\r")


def simple_field(name: bytes, value: bytes) -> bytes:
    """One header field in simple form, without the line end: as it came, but lines end in CRLF. RFC 6376 3.4.1."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return name + b":" + value


class CanonicalHeader:
    """The fields of a header by name; each is brought into canonical form once, however many signatures cover it."""

    def __init__(self, header: Header) -> None:
        self._fields: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for field in header.fields:
            self._fields.setdefault(field.key, []).append((field.name, field.value))
        self._forms: dict[tuple[bytes, bool], list[bytes]] = {}
        self._selected: tuple[Sequence[bytes], bool, bytes] = ((), False, b"")
        """The last selection: several keys sign the same fields."""

    def names(self, wanted: Iterable[bytes]) -> Sequence[bytes]:
        """These names (in lower case), each as often as it occurs."""
        found: list[bytes] = []
        for name in wanted:
            if name in self._fields:
                found += [name] * len(self._fields[name])
        return found

    def spare(self, name: bytes, names: Sequence[bytes], *, relaxed: bool) -> bytes:
        """The field of that name that one more mention of it in `names` would select; b"" when they name all."""
        forms, used = self._of(name, relaxed), names.count(name)
        return forms[-1 - used] if used < len(forms) else b""

    def select(self, names: Sequence[bytes], *, relaxed: bool) -> bytes:
        """The fields of an h= list, several of one name from the bottom up; absent ones add nothing. RFC 6376 5.4.2."""
        if (names, relaxed) == self._selected[:2]:
            return self._selected[2]
        chosen: list[bytes] = []
        taken: dict[bytes, int] = {}
        for name in names:
            forms = self._of(name, relaxed)
            used = taken.get(name, 0)
            if used < len(forms):
                taken[name] = used + 1
                chosen.append(forms[-1 - used])
        found = b"".join(chosen)
        self._selected = (names, relaxed, found)
        return found

    def _of(self, name: bytes, relaxed: bool) -> list[bytes]:
        forms = self._forms.get((name, relaxed))
        if forms is None:
            form = relaxed_field if relaxed else simple_field
            forms = [form(*field) + b"\r\n" for field in self._fields.get(name, ())]
            self._forms[name, relaxed] = forms
        return forms


def without_signature(value: bytes) -> bytes:
    """A signature field's value with the content of its b= tag taken out. RFC 6376 3.7."""
    pieces = value.split(b";")
    for number, piece in enumerate(pieces):
        name, equals, _ = piece.partition(b"=")
        if equals and name.strip() == b"b":
            pieces[number] = name + equals
    return b";".join(pieces)


def body_pieces(body: bytes | BinaryIO) -> Iterator[bytes]:
    """The body in pieces; a file is read from where it stands to its end."""
    if isinstance(body, bytes):
        for start in range(0, len(body), PIECE_BYTES):
            yield body[start : start + PIECE_BYTES]
        return
    while piece := body.read(PIECE_BYTES):
        yield piece


class BodyHash:
    """SHA-256 of a body in its simple or relaxed form; also of only its first canonical bytes, for each of `limits` (l=).

    However many limits are asked for, the body is brought into its form and hashed once.
    """

    def __init__(self, *, relaxed: bool, limits: Sequence[int] = ()) -> None:
        self._relaxed = relaxed
        self._hash = hashlib.sha256()
        self._marks = sorted(set(limits), reverse=True)  # the next one is the last
        self._digests: dict[int | None, bytes] = {}
        self._held = b""  # the end of a piece that may still be part of a line end
        self._line_ends = 0  # complete ones not hashed yet: empty lines at the end do not count
        self.size_bytes = 0
        """Of the canonical form so far; after `digests` of all of it."""

    def update(self, piece: bytes) -> None:
        """Read on; `piece` should not be much longer than `PIECE_BYTES`."""
        data = self._held + piece if self._held else piece
        if self._relaxed:
            data = self._without_blanks(data)
        elif data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        else:
            self._held = b""
        content = data.rstrip(b"\r\n")
        ends = data[len(content) :].replace(b"\r\n", b"\0")
        count = len(ends) - len(ends.rstrip(b"\0"))  # a bare CR or LF is content
        content = data[: len(data) - 2 * count]
        if content:
            self._flush_line_ends()
            self._add(content)
            self._line_ends = count
        else:
            self._line_ends += count

    def _without_blanks(self, data: bytes) -> bytes:
        """Runs of blanks become one, those before a line end none. Replacing is faster than any regular expression."""
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        self._held = b""
        if data.endswith(b"\r"):
            self._held = b" \r" if data.endswith(b" \r") else b"\r"
        elif data.endswith(b" "):
            self._held = b" "
        if self._held:
            data = data[: -len(self._held)]
        return data.replace(b" \r\n", b"\r\n")

    def _flush_line_ends(self) -> None:
        count = self._line_ends
        self._line_ends = 0
        while count > 0:
            self._add(b"\r\n" * min(count, PIECE_BYTES))
            count -= PIECE_BYTES

    def _add(self, data: bytes) -> None:
        while self._marks and self.size_bytes + len(data) >= self._marks[-1]:
            mark = self._marks.pop()
            part, data = data[: mark - self.size_bytes], data[mark - self.size_bytes :]
            self._hash.update(part)
            self.size_bytes += len(part)
            self._digests[mark] = self._hash.digest()
        self._hash.update(data)
        self.size_bytes += len(data)

    def digests(self) -> Mapping[int | None, bytes]:
        """The body has ended: the hash of all of it (None), and of each limit the body reaches. Called once.

        A last line without its line end gets one, as it gets on the wire.
        """
        held = self._held.rstrip(b" ") if self._relaxed else self._held
        if held:
            self._flush_line_ends()
            self._add(self._held)
        # RFC 6376 3.4.3 and 3.4.4: an empty body is one line end in the simple form, nothing in the relaxed form
        if self.size_bytes or not self._relaxed:
            self._add(b"\r\n")
        if 0 in self._marks:
            self._digests[0] = hashlib.sha256().digest()
        self._digests[None] = self._hash.digest()
        return self._digests

    def digest(self) -> bytes:
        """The hash of the whole body, when no limit was asked for. Called once."""
        whole = self.digests()[None]
        assert whole is not None
        return whole
