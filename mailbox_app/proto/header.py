"""Header blocks: fields with their byte offsets, values unfolded, encoded words made readable.

Reading never fails: lines that are no fields are passed over, a bare LF ends a line like CRLF does, and 8-bit or NUL
bytes stay in the values as they came. The received bytes themselves are never changed here.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import NamedTuple

from mailbox_app.proto.text.charsets import codec_of

# One match is one field with its continuation lines, or one line that is no field. Possessive: linear on any input.
FIELD = re.compile(rb"(?:([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)|[^\n]++)?+\n?")

_ENCODED_WORD = re.compile(rb"=\?([!->@-~]{1,60})\?([bBqQ])\?([!->@-~ ]*+)\?=")
_QUOTED_BYTE = re.compile(rb"=([0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Field(NamedTuple):
    """One header field as received."""

    name: bytes
    """As received, without white space before the colon."""
    key: bytes
    """The name in lower case."""
    start: int
    """Offset of the name in the block."""
    end: int
    """Offset just after the field's last line end."""
    value: bytes
    """Everything after the colon, still folded, without the final line end."""


def unfold(value: bytes) -> bytes:
    """The value on one line, without white space around it. RFC 5322 2.2.3."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r\n")


class Header:
    """The fields of one header block, in order, with their offsets."""

    __slots__ = ("_index", "fields")

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = fields
        index: dict[bytes, list[bytes]] = {}
        for field in fields:
            index.setdefault(field.key, []).append(field.value)
        self._index = index

    @classmethod
    def parse(cls, block: bytes) -> Header:
        """Read a block; what follows an empty line is not looked at."""
        end = header_end(block)
        fields = []
        for match in FIELD.finditer(block, 0, end):
            name, value = match.groups()
            if name is not None:
                if value.endswith(b"\r"):
                    value = value[:-1]
                fields.append(Field(name, name.lower(), match.start(), match.end(), value))
        return cls(fields)

    def first(self, key: bytes) -> bytes | None:
        """The unfolded value of the first field of that name (`key` in lower case), or None."""
        values = self._index.get(key)
        return unfold(values[0]) if values else None

    def all(self, key: bytes) -> Sequence[bytes]:
        """The unfolded values of all fields of that name (`key` in lower case), top first."""
        return [unfold(value) for value in self._index.get(key, ())]

    def count(self, key: bytes) -> int:
        """How many fields have that name (`key` in lower case)."""
        return len(self._index.get(key, ()))


def header_end(data: bytes) -> int:
    """The offset just after the empty line that ends the header; `len(data)` when there is none."""
    if data.startswith(b"\n"):
        return 1
    if data.startswith(b"\r\n"):
        return 2
    strict = data.find(b"\n\r\n")
    bare = data.find(b"\n\n", 0, strict + 1 if strict >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return strict + 3 if strict >= 0 else len(data)


def decode_text(raw: bytes, charset: str = "utf-8") -> str:
    """Bytes as text by a stranger's charset name; never fails: unknown names are read as UTF-8, else Latin-1."""
    codec = "" if charset == "utf-8" else codec_of(charset)
    if codec and codec != "utf_8":
        try:
            return raw.decode(codec, "replace")
        except (LookupError, ValueError, ImportError, OSError):
            pass  # not part of this Python, or its file cannot be read any more: guessed below
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decode_word(match: re.Match[bytes]) -> str | None:
    charset, encoding, text = match.groups()
    if encoding in b"qQ":
        raw = _QUOTED_BYTE.sub(lambda hexed: bytes((int(hexed[1], 16),)), text.replace(b"_", b" "))
    else:
        try:
            raw = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
        except binascii.Error:
            return None
    return decode_text(raw, charset.split(b"*")[0].decode("ascii"))  # RFC 2231 5: a language may follow the charset


def decode_words(value: bytes) -> str:
    """A header value as readable text: RFC 2047 words decoded, raw 8-bit guessed, control characters removed."""
    return _CONTROL.sub("", decode_words_as_they_are(value))


def decode_words_as_they_are(value: bytes) -> str:
    """The same with control characters still in it: for checks of what somebody tries to show, never for showing it."""
    value = unfold(value)
    if b"=?" not in value:
        return decode_text(value).replace("\t", " ")
    pieces: list[str] = []
    position = 0
    after_word = False
    for match in _ENCODED_WORD.finditer(value):
        word = _decode_word(match)
        if word is None:
            continue
        between = value[position : match.start()]
        if not (after_word and not between.strip()):  # RFC 2047 6.2: white space between words is not shown
            pieces.append(decode_text(between).replace("\t", " "))
        pieces.append(word)
        position = match.end()
        after_word = True
    pieces.append(decode_text(value[position:]).replace("\t", " "))
    return "".join(pieces)
