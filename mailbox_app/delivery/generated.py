"""Messages this server writes in an account's name: out-of-office answers and notifications. Composing only.

One line stays one line whatever the texts hold, lines stay short, everything that is not ASCII is encoded. They leave with the
null sender and say that no person wrote them (RFC 3834 3.1), so nothing that follows the rules answers them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from mailbox_app.proto.dates import format_date
from mailbox_app.proto.header import Header
from mailbox_app.proto.sieve.header_edits import render_field
from mailbox_app.proto.sieve.rewritten import own_entity, text_entity

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MAX_SUBJECT = 500
_MAX_REFERENCES = 20
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>")


def one_line(text: str, longest: int = _MAX_SUBJECT) -> str:
    """A text without line ends and other controls, cut to length."""
    return _CONTROL.sub(" ", text)[:longest].strip()


def compose(
    *,
    sender: str,
    recipients: Sequence[str],
    subject: str,
    auto_submitted: str,
    text: str,
    now: datetime,
    hostname: str,
    answered: Header | None = None,
    further: Sequence[tuple[str, str]] = (),
    is_entity: bool = False,
) -> bytes:
    """A whole message. `answered` is the header of what it replies to; an entity brings its own Content fields."""
    domain = sender.rpartition("@")[2].rstrip("> ") or hostname
    fields = [
        render_field("From", one_line(sender)),
        render_field("To", ", ".join(f"<{one_line(address, 320)}>" for address in recipients)),
        render_field("Subject", one_line(subject) or "(no subject)"),
        b"Date: " + format_date(now) + b"\r\n",
        f"Message-ID: <{secrets.token_hex(16)}@{domain if domain.isascii() else hostname}>\r\n".encode(),
        f"Auto-Submitted: {auto_submitted}\r\n".encode(),
        *(render_field(name, one_line(value)) for name, value in further),
        b"" if answered is None else _thread_fields(answered),
        b"MIME-Version: 1.0\r\n",
    ]
    head = b"".join(fields)
    body = text.encode("utf-8", "surrogateescape")
    return head + (own_entity(body) if is_entity else text_entity(body))


def _thread_fields(answered: Header) -> bytes:
    """In-Reply-To and References. RFC 5322 3.6.4."""
    own = _MESSAGE_ID.search(answered.first(b"message-id") or b"")
    if own is None:
        return b""
    before = _MESSAGE_ID.findall(answered.first(b"references") or answered.first(b"in-reply-to") or b"")
    chain = [*before[-_MAX_REFERENCES:], own[0]]
    if len(before) > _MAX_REFERENCES:
        chain.insert(0, before[0])
    return b"In-Reply-To: " + own[0] + b"\r\nReferences: " + b"\r\n\t".join(chain) + b"\r\n"
