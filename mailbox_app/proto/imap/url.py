"""IMAP URLs that name a message, or a part of one, of the account that is logged in. RFC 5092, as RFC 4469 uses them.

Forms taken: absolute (`imap://user@host/...`), from the root (`/mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=a.b`)
and relative to the selected mailbox (`;UID=n`). Everything else raises `ProtocolError`: searches, access by URLAUTH,
anything that names no message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.imap.fetch import Body, parse_section
from mailbox_app.proto.imap.grammar import MAX_NUMBER, Cursor

MAX_URL = 4_000
_SERVER = re.compile(
    rb"imaps?://(?:([^/@;]*)(?:;AUTH=[^/@]*)?@)?(\[[^\]/@]*\]|[^/:@]*)(?::\d{1,5})?(?=/)", re.IGNORECASE
)
_MAILBOX = re.compile(rb"/([^;/][^;]*?)(?:;UIDVALIDITY=(\d{1,10}))?/?(?=;UID=)", re.IGNORECASE)
_UID = re.compile(rb";UID=(\d{1,10})(?=[/;]|\Z)", re.IGNORECASE)
_SECTION = re.compile(rb"/?;SECTION=([^;/?]+)(?=[/;]|\Z)", re.IGNORECASE)
_PARTIAL = re.compile(rb"/?;PARTIAL=(\d{1,19})(?:\.(\d{1,10}))?\Z", re.IGNORECASE)
_END = re.compile(rb"/?\Z")


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """What a URL names."""

    user: str | None
    host: str | None
    """None: the server it is said to."""
    mailbox: str | None
    """None: the selected one."""
    uidvalidity: int | None
    uid: int
    section: Body
    """Its part and its range; the whole message when the URL names no section."""


def parse_url(url: bytes) -> MessageUrl:
    """Read one; raises `ProtocolError`."""
    if len(url) > MAX_URL or b"?" in url or not url.isascii():
        raise _bad()
    user = host = mailbox = uidvalidity = None
    position = 0
    server = _SERVER.match(url)
    if server is not None:
        user = _text(server[1]) if server[1] else None
        host = server[2].decode("ascii").lower()
        position = server.end()
    named = _MAILBOX.match(url, position)
    if named is not None:
        mailbox = _text(named[1])
        uidvalidity = int(named[2]) if named[2] else None
        position = named.end()
    elif url[position : position + 1] == b"/":
        position += 1
        if server is not None:
            raise _bad()
    uid = _UID.match(url, position)
    if uid is None or not 0 < int(uid[1]) <= MAX_NUMBER:
        raise _bad()
    position = uid.end()
    section = b""
    if found := _SECTION.match(url, position):
        section = unquote_to_bytes(found[1])
        position = found.end()
    partial = _PARTIAL.match(url, position)
    if partial is None and _END.match(url, position) is None:
        raise _bad()
    return MessageUrl(user, host, mailbox, uidvalidity, int(uid[1]), _section(section, partial))


def _section(text: bytes, partial: re.Match[bytes] | None) -> Body:
    cursor = Cursor(b"%b]" % text)
    body = parse_section(cursor, b"BODY", peek=True)
    cursor.end()
    if partial is None:
        return body
    count = int(partial[2]) if partial[2] else None
    return Body(body.label, body.part, body.kind, body.names, peek=True, offset=int(partial[1]), count=count)


def _text(quoted: bytes) -> str:
    try:
        text = unquote_to_bytes(quoted).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad() from error
    if "\0" in text or "\r" in text or "\n" in text:
        raise _bad()
    return text


def _bad() -> ProtocolError:
    return ProtocolError("imap.bad_url", "no URL of a message here")
