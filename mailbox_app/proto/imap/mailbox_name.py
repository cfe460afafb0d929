"""Mailbox names on the wire: modified UTF-7 to Unicode and back, or UTF-8 once enabled. RFC 3501 5.1.3, RFC 9051 5.1.

Decoding is strict: a name has exactly one encoded form, so two spellings never reach one mailbox.
"""

from __future__ import annotations

import binascii
import re

from mailbox_app.errors import ProtocolError

_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_OUTSIDE = re.compile(r"&|[^\x20-\x7e]+")


def encode(name: str) -> bytes:
    """Unicode to modified UTF-7."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    return _OUTSIDE.sub(_shift, name).encode("ascii")


def decode(data: bytes, *, utf8: bool = False) -> str:
    """Modified UTF-7 (or UTF-8) to Unicode; anything but the canonical form raises."""
    if utf8:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError("imap.bad_name", "mailbox names are UTF-8") from error
    if b"&" not in data:
        if not data.isascii():
            raise ProtocolError("imap.bad_name", "mailbox names are modified UTF-7")
        return data.decode("ascii")
    try:
        name = _SHIFTED.sub(_unshift, data).decode("utf-8")
        canonical = encode(name) == data
    except (ValueError, binascii.Error):
        canonical = False
    if not canonical:
        raise ProtocolError("imap.bad_name", "mailbox names are modified UTF-7")
    return name


def _shift(match: re.Match[str]) -> str:
    text = match[0]
    if text == "&":
        return "&-"
    coded = binascii.b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=").replace(b"/", b",")
    return f"&{coded.decode('ascii')}-"


def _unshift(match: re.Match[bytes]) -> bytes:
    coded = match[1]
    if not coded:
        return b"&"
    padded = coded.replace(b",", b"/") + b"=" * (-len(coded) % 4)
    return binascii.a2b_base64(padded).decode("utf-16-be").encode("utf-8")
