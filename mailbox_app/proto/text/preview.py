"""The first readable words of a message, for lists of messages. RFC 8970.

Taken from the first text part that is no attachment and has words; lines that quote somebody, signatures and white space
are left out. Only the part's beginning is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailbox_app.proto.header import Header
from mailbox_app.proto.mime import Content, Part, PartTable
from mailbox_app.proto.text.message import Read, content_of, is_readable, part_text, read_header

LONGEST = 200
"""Characters a client may count on. RFC 8970 3.2."""
_LOOKED_AT = 16_384
"""Characters of the part: what is not readable by then is not worth waiting for."""
_PARTS_TRIED = 4
_QUOTED = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
_SIGNATURE = re.compile(r"^-- $.*", re.MULTILINE | re.DOTALL)
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]+"
)


def preview(read: Read, table: PartTable, *, longest: int = LONGEST) -> str:
    """At most `longest` characters on one line; "" when the message has no text."""
    for part, content in _texts(read, table):
        text = ""
        for piece in part_text(read, part, content):
            text += piece
            if len(text) >= _LOOKED_AT:
                break
        text = _UNSEEN.sub("", text[:_LOOKED_AT])
        own = _QUOTED.sub("", _SIGNATURE.sub("", text)) if part.content_type == b"text/plain" else text
        shown = _cut(own, longest) or _cut(text, longest)
        if shown:
            return shown
    return ""


def _texts(read: Read, table: PartTable) -> Iterator[tuple[Part, Content]]:
    """The first parts with text for people; writers put the plain one of an alternative first."""
    tried = 0
    for index in range(len(table)):
        part = table.part(index)
        if part.content_type.startswith(b"text/") and part.body_end > part.body_start:
            content = content_of(Header.parse(read_header(read, part)))
            if is_readable(part, content):
                yield part, content
                tried += 1
                if tried == _PARTS_TRIED:
                    return


def _cut(text: str, longest: int) -> str:
    """One line, ended after a word when there is one."""
    words = " ".join(text[: longest * 20].split())
    if len(words) <= longest:
        return words
    shortened = words[: longest + 1].rpartition(" ")[0]
    return shortened if len(shortened) > longest // 2 else words[:longest]
