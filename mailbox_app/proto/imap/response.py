"""Rendering of what goes back: strings as quoted or literal, mailbox names, status texts."""

from __future__ import annotations

import re

from mailbox_app.proto.imap import mailbox_name

_NEEDS_LITERAL = re.compile(rb"[\r\n\x00\x80-\xff]")
_ATOM = re.compile(rb"[!#$'+,\-./0-9:;<=>?@A-Z^_`a-z|}~]+")
MAX_QUOTED = 1_000


def string(value: bytes) -> bytes:
    """A quoted string, or a literal when it must be one."""
    if len(value) > MAX_QUOTED or _NEEDS_LITERAL.search(value):
        return b"{%d}\r\n%b" % (len(value), value)
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name in modified UTF-7, or in UTF-8 when the client enabled that; quoted when it is no atom."""
    if utf8 and not name.isascii():
        return b'"%b"' % name.encode("utf-8").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    encoded = name.encode("ascii") if utf8 else mailbox_name.encode(name)
    # A bare NIL would be read as no value at all.
    if _ATOM.fullmatch(encoded) and encoded.upper() != b"NIL":
        return encoded
    return string(encoded)


def astring(value: bytes) -> bytes:
    """As it is when it is an atom, else a string."""
    return value if _ATOM.fullmatch(value) else string(value)


def text(value: str) -> str:
    """Words for a status line: no line breaks, no controls, ASCII, bounded."""
    return "".join(char if " " <= char <= "~" else "?" for char in value[:300])
