"""Notifications by mail: what a `mailto:` URI and the `notify` action come to. RFC 5435, RFC 5436, RFC 6068."""

from __future__ import annotations

from mailbox_app.proto.header import Header, decode_words
from mailbox_app.proto.sieve.actions import Notify
from mailbox_app.proto.sieve.mailto import BadMailto, Mailto, parse_mailto

_IMPORTANCE = {1: "high", 2: "normal", 3: "low"}


def read_mailto(uri: str) -> Mailto | None:
    """The parts of a URI; None when it is no `mailto:` or names nobody (or too many)."""
    try:
        return parse_mailto(uri)
    except BadMailto:
        return None


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
