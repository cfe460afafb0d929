"""`mailto:` addresses of notifications, read strictly. RFC 6068, RFC 5436 2.1."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address

_MOST_RECIPIENTS = 5
_REFUSED = frozenset({"from", "sender", "received", "return-path", "message-id", "date", "auto-submitted", "bcc"})
"""Fields that a notification's own rules set, or that would hide whom it goes to. RFC 5436 2.1, RFC 6068 4."""


class BadMailto(ValueError):
    """No valid `mailto:`; the text says why."""


class Mailto(NamedTuple):
    """What a notification is sent to and with."""

    to: tuple[str, ...]
    cc: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]
    """Other header fields, `subject` and `body` among them, names in lower case, on one line (but for the body)."""


def parse_mailto(uri: str) -> Mailto:
    """Read one; raises `BadMailto`. Fields that must not be set this way are left out."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "mailto":
        raise BadMailto(f'the notification method "{uri[:80]}" is not known: only mailto: is')
    if len(uri) > 4_096 or not uri.isprintable() or " " in uri:
        raise BadMailto(f'"{uri[:80]}" is not a valid mailto: address')
    addresses, _, query = rest.partition("?")
    to, cc = _addresses(_decode(addresses)), []
    fields: list[tuple[str, str]] = []
    for pair in query.split("&") if query else ():
        raw_name, equals, raw_value = pair.partition("=")
        name, value = _decode(raw_name).lower(), _decode(raw_value)
        if not equals or not name.isascii() or not name or not name.isprintable() or set(name) & set(" :"):
            raise BadMailto(f'"{pair[:40]}" in a mailto: address is not name=value')
        if name == "to":
            to += _addresses(value)
        elif name == "cc":
            cc += _addresses(value)
        elif name not in _REFUSED and len(fields) < 20:
            fields.append((name, value if name == "body" else " ".join(value.split())))
    if not to and not cc:
        raise BadMailto("a mailto: address has no recipient")
    if len(to) + len(cc) > _MOST_RECIPIENTS:
        raise BadMailto(f"a mailto: address has more than {_MOST_RECIPIENTS} recipients")
    first = tuple(dict.fromkeys(to))
    return Mailto(first, tuple(address for address in dict.fromkeys(cc) if address not in first), tuple(fields))


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace")


def _addresses(text: str) -> list[str]:
    found = []
    for each in text.split(",") if text.strip() else ():
        try:
            found.append(str(parse_address(each.strip())))
        except ProtocolError as error:
            raise BadMailto(f'"{each[:80]}" in a mailto: address is not an address') from error
    return found
