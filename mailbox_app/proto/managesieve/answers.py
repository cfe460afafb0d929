"""What a ManageSieve server says: strings, and lines of OK, NO and BYE with a code and a text. RFC 5804 1.2, 1.3."""

from __future__ import annotations

import re

_PLAIN = re.compile(rb"[^\x00\r\n]{0,1024}")
"""RFC 5804 4: a quoted string has 1,024 octets at most; what it cannot hold goes out as a literal."""


def string(value: str | bytes) -> bytes:
    """A string on the wire: quoted where that is possible."""
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if not _PLAIN.fullmatch(data):
        return b"{%d}\r\n%b" % (len(data), data)
    return b'"%b"' % data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def answer(status: str, text: str, code: str | bytes = "") -> bytes:
    """The last line of an answer. `code` is a response code without its parentheses."""
    inner = code.encode("ascii") if isinstance(code, str) else code
    middle = b" (%b)" % inner if inner else b""
    return b"%b%b %b\r\n" % (status.encode("ascii"), middle, string(text))
