"""IMAP strings and the ENVELOPE value. RFC 9051 7.5.2.

Output is always grammatical, whatever the header held: what cannot be a quoted string becomes a literal, NUL (which
neither may hold) becomes `?`, and a field that is missing becomes NIL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mailbox_app.proto.address_list import parse_address_items

NIL = b"NIL"
# The fields an ENVELOPE is made of, in lower case.
ENVELOPE_FIELDS = frozenset(
    (b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id")
)

_PLAIN = re.compile(rb"[ !#-\[\]-~\t]{0,1000}").fullmatch
# Longer strings go as literals: some clients have a limit for the length of a line.
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1000}").fullmatch


def imap_string(value: bytes) -> bytes:
    """The value as a quoted string when it may be one, else as a literal."""
    if _PLAIN(value):
        return b'"%b"' % value
    if _QUOTABLE(value):
        return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    if b"\0" in value:
        value = value.replace(b"\0", b"?")
    return b"{%d}\r\n%b" % (len(value), value)


def imap_nstring(value: bytes | None) -> bytes:
    """The same, with NIL for what is missing."""
    return NIL if value is None else imap_string(value)


def _addresses(value: bytes | None, budget: list[int]) -> bytes:
    if not value or budget[0] <= 0:
        return NIL
    items = parse_address_items(value, budget[0])
    budget[0] -= len(items)
    if not items:
        return NIL
    out = []
    for name, local, domain, route in items:
        shown = NIL if name is None else imap_string(name)
        if domain is None:
            # a group's start has a name and no host, its end has neither
            out.append(b"(NIL NIL %b NIL)" % imap_nstring(local))
        else:
            out.append(b"(%b %b %b %b)" % (shown, imap_nstring(route), imap_string(local or b""), imap_string(domain)))
    return b"(%b)" % b"".join(out)


def render_envelope(fields: Mapping[bytes, bytes], budget: list[int] | None = None) -> bytes:
    """The ENVELOPE of a message from its first unfolded value per lower-case field name.

    `budget[0]` is how many addresses may still be rendered, counted down over all envelopes of one message.
    """
    budget = [10_000] if budget is None else budget
    get = fields.get
    sender_default = _addresses(get(b"from"), budget)
    # An empty Sender or Reply-To counts as missing: both then are the From. RFC 9051 7.5.2
    sender = _addresses(get(b"sender"), budget)
    reply_to = _addresses(get(b"reply-to"), budget)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        imap_nstring(get(b"date")),
        imap_nstring(get(b"subject")),
        sender_default,
        sender_default if sender == NIL else sender,
        sender_default if reply_to == NIL else reply_to,
        _addresses(get(b"to"), budget),
        _addresses(get(b"cc"), budget),
        _addresses(get(b"bcc"), budget),
        imap_nstring(get(b"in-reply-to")),
        imap_nstring(get(b"message-id")),
    )
