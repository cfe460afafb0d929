"""Mailbox names and account names as folder names: the only place where a client's words become a path.

A mailbox `Work/2026` is the folder `.Work.2026` (Maildir++); non-ASCII characters and dots inside a level are written in
modified UTF-7 (RFC 3501 5.1.3), as other Maildir++ servers write non-ASCII. A name that could leave its place, or that
no folder can carry, is `store.bad_name`. A name has one Unicode form, NFC (RFC 9051 5.1), however a client composed it.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from urllib.parse import quote

from mailbox_app.errors import StoreError

INBOX = "INBOX"
MAX_NAME_CHARACTERS = 1_000
MAX_FOLDER_BYTES = 240
"""A file name holds 255 bytes; the rest is room for what a folder is called while it is being removed."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DIRECT = re.compile(r"[ -%'-\-0-~]+")
_ENCODED = re.compile(r"&([^-]*)-")


def bad_name(reason: str) -> StoreError:
    """The error for a name that cannot be a mailbox."""
    return StoreError("store.bad_name", f"invalid mailbox name: {reason}")


def canonical(name: str) -> str:
    """The one spelling of a name (INBOX in upper case); raises `store.bad_name`."""
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise bad_name("empty or too long")
    if _FORBIDDEN.search(name):
        raise bad_name("it holds control characters")
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    levels = name.split("/")
    if any(level in {"", ".", ".."} for level in levels):
        raise bad_name("it has an empty or relative level")
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    name = "/".join(levels)
    if len(folder_of(name).encode("utf-8")) > MAX_FOLDER_BYTES:
        raise bad_name("too long")
    return name


def folder_of(name: str) -> str:
    """The Maildir++ folder of a canonical name; "" for INBOX."""
    if name == INBOX:
        return ""
    return "".join("." + _encode(level) for level in name.split("/"))


def name_of(folder: str) -> str | None:
    """The name of a Maildir++ folder somebody made; None when it stands for no valid name."""
    if folder == "":
        return INBOX
    try:
        name = "/".join(_decode(level) for level in folder[1:].split("."))
        found = canonical(name)
    except (StoreError, ValueError):
        return None
    return found if found != INBOX else None


def parents(name: str) -> list[str]:
    """The names above a name, outermost first."""
    levels = name.split("/")
    return ["/".join(levels[:count]) for count in range(1, len(levels))]


def account_folder(part: str) -> str:
    """A domain or localpart as one path component; never empty, `.`, `..` or hidden."""
    escaped = quote(part, safe="!#$&'*+=?^`{|}~@")
    if escaped.startswith("."):
        escaped = "%2E" + escaped[1:]
    if not escaped or len(escaped) > 255:
        raise StoreError("store.bad_account", "invalid account name")
    return escaped


def _encode(level: str) -> str:
    result, at = [], 0
    while at < len(level):
        direct = _DIRECT.match(level, at)
        if direct:
            result.append(direct.group())
            at = direct.end()
        elif level[at] == "&":
            result.append("&-")
            at += 1
        else:
            end = at
            while end < len(level) and level[end] != "&" and not _DIRECT.match(level, end):
                end += 1
            data = base64.b64encode(level[at:end].encode("utf-16-be"), b"+,")
            result.append("&" + data.rstrip(b"=").decode("ascii") + "-")
            at = end
    return "".join(result)


def _decode(level: str) -> str:
    return _ENCODED.sub(_decode_run, level)


def _decode_run(found: re.Match[str]) -> str:
    data = found.group(1)
    if not data:
        return "&"
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), b"+,", validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(data) from error
