"""`mailto:` addresses of notifications, read strictly. RFC 6068, RFC 5436 2.1."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address

_MOST_RECIPIENTS = 5
_MOST_FIELDS = 10
_MOST_CHARACTERS = 4_096
_REFUSED = frozenset(
    {"from", "sender", "date", "message-id", "auto-submitted", "return-path", "reply-to", "in-reply-to", "references",
     "mime-version", "authentication-results", "delivered-to", "importance"}
)  # fmt: skip
_REFUSED_START = ("resent-", "content-", "received", "list-", "dkim", "arc-")
"""Fields that say who wrote it, when, and on what way it came: not a script's to set. RFC 5436 2.7, RFC 6068 4."""


class BadMailto(ValueError):
    """No valid `mailto:`; the text says why."""


class Mailto(NamedTuple):
    """What a notification is sent to and with."""

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    """Recipients that the message does not name."""
    subject: str = ""
    body: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    """Other header fields, on one line each."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.to, *self.cc, *self.bcc)


def parse_mailto(uri: str) -> Mailto:
    """Read one; raises `BadMailto`. Fields that must not be set this way are left out."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "mailto":
        raise BadMailto(f'the notification method "{uri[:80]}" is not known: only mailto: is')
    if len(uri) > _MOST_CHARACTERS or not uri.isprintable() or " " in uri:
        raise BadMailto(f'"{uri[:80]}" is not a valid mailto: address')
    addresses, _, query = rest.partition("?")
    named = {"to": _addresses(addresses), "cc": [], "bcc": []}
    texts = {"subject": "", "body": ""}
    fields: list[tuple[str, str]] = []
    for pair in query.split("&") if query else ():
        raw_name, equals, raw_value = pair.partition("=")
        name = _decode(raw_name).lower()
        if not equals or not name.isascii() or not name or not name.isprintable() or set(name) & set(" :"):
            raise BadMailto(f'"{pair[:40]}" in a mailto: address is not name=value')
        if name in named:
            named[name] += _addresses(raw_value)
            continue
        value = _decode(raw_value)
        line = " ".join("".join(each if each.isprintable() else " " for each in value).split())
        if name in texts:
            texts[name] = value if name == "body" else line
        elif name not in _REFUSED and not name.startswith(_REFUSED_START) and len(fields) < _MOST_FIELDS:
            fields.append((name.title(), line))
    places: dict[str, str] = {}
    for place, found in named.items():
        for address in found:
            places.setdefault(address, place)
    if not places:
        raise BadMailto("a mailto: address has no recipient")
    if len(places) > _MOST_RECIPIENTS:
        raise BadMailto(f"a mailto: address has more than {_MOST_RECIPIENTS} recipients")
    to, cc, bcc = (tuple(each for each, place in places.items() if place == wanted) for wanted in named)
    if not to:
        to, cc = cc, ()
    return Mailto(to, cc, bcc, texts["subject"], texts["body"], tuple(fields))


def _decode(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace")


def _addresses(text: str) -> list[str]:
    found = []
    for part in text.split(",") if text.strip() else ():
        plain = _decode(part)
        # a comma that is encoded as well stands for itself within a quoted name only. RFC 6068 2
        for each in (plain,) if '"' in plain else plain.split(","):
            try:
                found.append(str(parse_address(each.strip())))
            except ProtocolError as error:
                raise BadMailto(f'"{each[:80]}" in a mailto: address is not an address') from error
    return found
