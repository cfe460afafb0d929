"""Tag lists of DKIM and ARC (RFC 6376 3.2), read strictly: a malformed list and a tag given twice are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
# Visible characters, white space, and UTF-8 (RFC 8616); line breaks only before white space.
_NOT_A_VALUE = re.compile(rb"[^\x21-\x7e\x80-\xff \t\r\n]|\n(?![ \t])|\r(?!\n)")
_MAX_TAGS = 64
_BLANKS = re.compile(rb"[ \t\r\n]+")


class TagListError(ValueError):
    """The text is not a tag list."""


def parse_tags(value: bytes) -> Mapping[bytes, bytes]:
    """The tags in order; names are case-sensitive, values without the white space around them."""
    tags: dict[bytes, bytes] = {}
    pieces = value.split(b";", _MAX_TAGS)
    if not pieces[-1].strip(b" \t\r\n"):
        pieces.pop()
    if not pieces or len(pieces) > _MAX_TAGS:
        raise TagListError("no tags" if not pieces else "too many tags")
    for piece in pieces:
        name, equals, text = piece.partition(b"=")
        name = name.strip(b" \t\r\n")
        if not equals or not _NAME.fullmatch(name):
            raise TagListError("a piece is no tag")
        text = text.strip(b" \t\r\n")
        if _NOT_A_VALUE.search(text):
            raise TagListError("a value has forbidden characters")
        if name in tags:
            raise TagListError("a tag is given twice")
        tags[name] = text
    return tags


def with_known_query(tags: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """The tags with q= cut down to the one method that there is, when it is among those named. RFC 6376 3.5."""
    methods = [method.strip(b" \t\r\n").lower() for method in tags.get(b"q", b"").split(b":")]
    return {**tags, b"q": b"dns/txt"} if b"dns/txt" in methods else tags


def without_blanks(value: bytes) -> bytes:
    """A value in which white space means nothing, such as base64."""
    return _BLANKS.sub(b"", value)
