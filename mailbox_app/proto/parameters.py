"""Values with parameters (Content-Type, Content-Disposition), read tolerantly: RFC 2045 5.1, RFC 2231.

Comments are dropped, continued parameters are joined. An extended value (`name*=charset'language'%41`) keeps its
encoding and the star in its name, which is how IMAP clients know to decode it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailbox_app.proto.address_list import comment_end

Parameters = Sequence[tuple[bytes, bytes]]

# More than any real message has; keeps what a listing shows in proportion to what was sent.
MAX_PARAMETERS = 100

_PARAMETER = re.compile(rb';\s*+([^\s=;"]++)\s*+=\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"?|([^;"]*+))', re.DOTALL)
_QUOTED_OR_COMMENT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|\(', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTINUED = re.compile(rb"([^*]+)\*(\d{1,3})(\*?)")
_UNSAFE_EXTENDED = re.compile(rb"[^A-Za-z0-9!#$&+.^_`{|}~-]")


def strip_comments(value: bytes) -> bytes:
    """The value with each comment outside quotes replaced by a space."""
    if b"(" not in value:
        return value
    out: list[bytes] = []
    position = 0
    while True:
        match = _QUOTED_OR_COMMENT.search(value, position)
        if match is None:
            out.append(value[position:])
            return b"".join(out)
        if match[0] == b"(":
            out.append(value[position : match.start()])
            out.append(b" ")
            position = comment_end(value, match.start())
        else:
            out.append(value[position : match.end()])
            position = match.end()


def parse_parameters(value: bytes) -> tuple[bytes, Parameters]:
    """The main value in lower case, and the parameters with lower-case names, continuations joined."""
    value = strip_comments(value)
    main, separator, _ = value.partition(b";")
    if not separator:
        return main.strip().lower(), ()
    found: list[tuple[bytes, bytes]] = []
    extended = False
    for match in _PARAMETER.finditer(value, len(main)):
        name, quoted, bare = match.groups()
        content = bare.strip() if quoted is None else _ESCAPE.sub(rb"\1", quoted)
        extended = extended or b"*" in name
        found.append((name.lower(), content))
        if len(found) == MAX_PARAMETERS:
            break
    return main.strip().lower(), _join_continued(found) if extended else found


def _join_continued(found: Sequence[tuple[bytes, bytes]]) -> Parameters:
    """RFC 2231 3 and 4.1: sections may come in any order; a gap ends the value."""
    joined: list[tuple[bytes, bytes]] = []
    sections: dict[bytes, dict[int, tuple[bool, bytes]]] = {}
    for name, content in found:
        match = _CONTINUED.fullmatch(name)
        if match is None:
            joined.append((name, content))
            continue
        base = match[1]
        if base not in sections:
            sections[base] = {}
            joined.append((base, b""))  # holds the place of its first section
        sections[base].setdefault(int(match[2]), (bool(match[3]), content))
    result: list[tuple[bytes, bytes]] = []
    for name, content in joined:
        parts = sections.pop(name, None) if content == b"" else None
        if parts is None:
            result.append((name, content))
            continue
        chosen: list[tuple[bool, bytes]] = []
        while len(chosen) in parts:
            chosen.append(parts[len(chosen)])
        if any(encoded for encoded, _ in chosen):
            whole = b"".join(text if encoded else _percent(text) for encoded, text in chosen)
            if not chosen[0][0]:
                whole = b"''" + whole
            result.append((name + b"*", whole))
        else:
            result.append((name, b"".join(text for _, text in chosen)))
    return result


def _percent(text: bytes) -> bytes:
    return _UNSAFE_EXTENDED.sub(lambda match: b"%%%02X" % match[0][0], text)
