"""Notifications by mail: what a `mailto:` URI and the `notify` action come to. RFC 5435, RFC 5436, RFC 6068."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from mailbox_app.errors import ProtocolError
from mailbox_app.proto.address import parse_address
from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.sieve.actions import Notify

_MAX_RECIPIENTS = 5
_IMPORTANCE = {1: "high", 2: "normal", 3: "low"}
_IGNORED = frozenset({"from", "to", "cc", "bcc", "subject", "body"})
_FORBIDDEN_START = ("resent-", "content-", "received", "list-", "dkim", "arc-")
_FORBIDDEN = frozenset(
    {"date", "message-id", "auto-submitted", "return-path", "sender", "reply-to", "in-reply-to", "references",
     "mime-version", "authentication-results", "delivered-to", "importance"}
)  # fmt: skip
_MAX_FIELDS = 10


@dataclass(frozen=True, slots=True)
class Mailto:
    """A `mailto:` URI that was read."""

    recipients: Sequence[str]
    """All of them, those of `cc` and `bcc` too."""
    subject: str
    body: str
    fields: Sequence[tuple[str, str]]
    to: Sequence[str] = ()
    """Those that the message names first; `bcc` is named nowhere."""
    cc: Sequence[str] = ()


def read_mailto(uri: str) -> Mailto | None:
    """The parts of a URI; None when it is no `mailto:` or names nobody (or too many)."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme.lower() != "mailto":
        return None
    to, _, query = rest.partition("?")
    named = {"to": to.split(",") if to else [], "cc": [], "bcc": []}
    subject, body = "", ""
    fields: list[tuple[str, str]] = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        name, text = unquote(name).lower(), unquote(value)
        if name in named:
            named[name] += value.split(",")
        elif name == "subject":
            subject = text
        elif name == "body":
            body = text
        elif _may_be_set(name) and len(fields) < _MAX_FIELDS:
            fields.append((name.title(), text))
    places: dict[str, str] = {}
    try:
        for place, addresses in named.items():
            for address in addresses:
                for each in _separate(unquote(address)):
                    places.setdefault(str(parse_address(each.strip())), place)
    except ProtocolError:
        return None
    if not 1 <= len(places) <= _MAX_RECIPIENTS:
        return None
    first, second = ([each for each, place in places.items() if place == wanted] for wanted in ("to", "cc"))
    return Mailto(list(places), subject, body, fields, first or second, second if first else ())


def _separate(text: str) -> Sequence[str]:
    """Addresses whose comma was encoded as well, which RFC 6068 2 has for a comma within an address only."""
    return (text,) if '"' in text else text.split(",")


def _may_be_set(name: str) -> bool:
    """RFC 5436 2.7: only fields that say nothing about who wrote it, when, and on what way it came."""
    if not name.isascii() or not all(character.isalnum() or character == "-" for character in name):
        return False
    return bool(name) and name not in _IGNORED | _FORBIDDEN and not name.startswith(_FORBIDDEN_START)


def subject_of(action: Notify, target: Mailto, header: Header) -> str:
    """The script's message, else the URI's subject, else the one of the message told about. RFC 5436 2.6."""
    original = decode_words(header.first(b"subject") or b"")
    given = action.message or target.subject
    if given:
        return decode_words(given.encode("utf-8", "surrogateescape"))  # some write encoded words themselves
    return f"New mail: {original}" if original else "New mail"


def text_of(action: Notify, target: Mailto, header: Header) -> str:
    """The URI's body, else who wrote and what about."""
    if target.body:
        return target.body
    lines = [
        f"{label}: {decode_words(header.first(name) or b'')}"
        for label, name in (("From", b"from"), ("Subject", b"subject"), ("Date", b"date"))
    ]
    return "\n".join([action.message or "A message has arrived.", "", *lines, ""])


def importance_of(action: Notify) -> str:
    """The word for the Importance field."""
    return _IMPORTANCE.get(action.importance, "normal")
