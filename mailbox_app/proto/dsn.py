"""Delivery status notifications: RFC 3464 reports as whole messages, with the international forms of RFC 6533.

A report is composed from what the queue knows and from text of strangers (diagnostics, addresses, the original
header); all of it is cleaned here: one line stays one line, lines stay below the limits, no part can end another.
"""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mailbox_app.proto.dates import format_date
from mailbox_app.proto.smtp.orcpt import escape_address

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,248}>")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LINE = 76
# RFC 5322 2.1.1: no line may be longer than 998.
_HARD_LINE = 990
_MAX_TEXT = 2_000
_MAX_HEADER = 65_536

_SUBJECTS: dict[Action, str] = {
    "failed": "Your message could not be delivered",
    "delayed": "Your message is delayed",
    "delivered": "Your message was delivered",
    "relayed": "Your message was passed on",
    "expanded": "Your message was sent to a list",
}
_SENTENCES: dict[Action, str] = {
    "failed": "It could not be delivered to the following, and will not be tried again:",
    "delayed": "It could not be delivered to the following yet. It will be tried again; you need not send it again:",
    "delivered": "It was delivered to:",
    "relayed": "It was passed on to a system that may not report further, for:",
    "expanded": "It was delivered to a list or alias and sent on from there, for:",
}


@dataclass(frozen=True, slots=True)
class DsnRecipient:
    """What became of one recipient."""

    address: str
    orcpt: str | None
    """The sender's ORCPT, such as `rfc822;a@example.org`, already decoded from xtext."""
    action: Action
    status: str
    """An enhanced status code, such as 5.1.1."""
    remote_mta: str | None = None
    diagnostic: str | None = None
    """The remote server's reply, or our own words when no server was reached."""
    final_log_id: str | None = None
    will_retry_until: datetime | None = None
    attempted_at: datetime | None = None
    """When it was tried last; None: not known, or not at all."""
    explanation: str = ""
    """For people in the place of the diagnostic."""


@dataclass(frozen=True, slots=True)
class DsnReport:
    """All that a report tells."""

    reporting_mta: str
    sender: str
    """The original envelope sender, who gets the report."""
    arrived_at: datetime
    envid: str | None
    queue_id: str
    recipients: Sequence[DsnRecipient]
    original_header: bytes
    original_message: bytes | None
    """The whole message when it is to be returned (RET=FULL), else None."""
    message_id: str
    """Of the report, with or without angle brackets."""
    now: datetime
    from_address: str
    original_message_id: str = ""
    """Of the message it is about, for threads; what is no Message-ID is left out."""
    release_request: str = ""
    """The sender's wish for a later time, such as `for;3600` (RFC 4865)."""
    smtputf8: bool = True
    """Whether the way back takes international forms (RFC 6533); if not, addresses are written in ASCII."""


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text[:_MAX_TEXT]).strip()


def _fold(name: str, value: str) -> str:
    """One field, folded at blanks; what has no blanks is cut below the hard limit."""
    words = textwrap.wrap(f"{name}: {value}", _LINE, break_long_words=False, break_on_hyphens=False) or [f"{name}:"]
    lines: list[str] = []
    for word in words:
        encoded = word
        while len(encoded.encode("utf-8")) > _HARD_LINE:
            lines.append(encoded[: _HARD_LINE // 4])
            encoded = encoded[_HARD_LINE // 4 :]
        lines.append(encoded)
    return "\r\n ".join(lines) + "\r\n"


def _typed(address: str, *, smtputf8: bool, kind: str = "rfc822") -> str:
    """An address with its type. RFC 6533 3: what is not ASCII is of the type utf-8, readable where the way back takes that."""
    address = _clean(address)
    if address.isascii():
        return f"{kind}; {address}"
    return f"utf-8; {address if smtputf8 else escape_address(address)}"


def _recipient_fields(recipient: DsnRecipient, *, smtputf8: bool) -> str:
    fields: list[tuple[str, str]] = []
    if recipient.orcpt:
        kind, separator, value = _clean(recipient.orcpt).partition(";")
        original = _typed(value, smtputf8=smtputf8, kind=kind) if separator else _typed(kind, smtputf8=smtputf8)
        fields.append(("Original-Recipient", original))
    fields.append(("Final-Recipient", _typed(recipient.address, smtputf8=smtputf8)))
    fields.append(("Action", recipient.action))
    fields.append(("Status", _clean(recipient.status)))
    if recipient.remote_mta:
        fields.append(("Remote-MTA", f"dns; {_clean(recipient.remote_mta)}"))
    if recipient.diagnostic:
        kind = "smtp" if recipient.remote_mta else "x-local"
        fields.append(("Diagnostic-Code", f"{kind}; {_clean(recipient.diagnostic)}"))
    if recipient.attempted_at is not None:  # RFC 3464 2.3.7: only when it is known
        fields.append(("Last-Attempt-Date", format_date(recipient.attempted_at).decode("ascii")))
    if recipient.final_log_id:
        fields.append(("Final-Log-ID", _clean(recipient.final_log_id)))
    if recipient.will_retry_until is not None:
        fields.append(("Will-Retry-Until", format_date(recipient.will_retry_until).decode("ascii")))
    return "".join(_fold(name, value) for name, value in fields)


def _status_part(report: DsnReport) -> str:
    fields: list[tuple[str, str]] = []
    if report.envid:
        fields.append(("Original-Envelope-Id", _clean(report.envid)))
    fields.append(("Reporting-MTA", f"dns; {_clean(report.reporting_mta)}"))
    fields.append(("Arrival-Date", format_date(report.arrived_at).decode("ascii")))
    if report.release_request:  # RFC 4865 5.1.2
        fields.append(("Future-Release-Request", _clean(report.release_request)))
    blocks = ["".join(_fold(name, value) for name, value in fields)]
    blocks.extend(_recipient_fields(recipient, smtputf8=report.smtputf8) for recipient in report.recipients)
    return "\r\n".join(blocks)


def _wrap(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(
        text, _LINE, initial_indent=indent, subsequent_indent=indent, break_long_words=True, break_on_hyphens=False
    )
    return "\r\n".join(lines) + "\r\n"


def _human_part(report: DsnReport) -> str:
    arrived = format_date(report.arrived_at).decode("ascii")
    host = _clean(report.reporting_mta)
    blocks = [
        _wrap(f"This is the mail system at {host}."),
        _wrap(f"It is about the message you sent, received here on {arrived}."),
    ]
    for action, sentence in _SENTENCES.items():
        chosen = [recipient for recipient in report.recipients if recipient.action == action]
        if not chosen:
            continue
        block = _wrap(sentence)
        for recipient in chosen:
            block += "\r\n" + _wrap(f"<{_clean(recipient.address)}>", "    ")
            if recipient.explanation:
                block += _wrap(_clean(recipient.explanation), "      ")
            elif recipient.diagnostic:
                who = f"{_clean(recipient.remote_mta)} said: " if recipient.remote_mta else ""
                block += _wrap(who + _clean(recipient.diagnostic), "      ")
            if recipient.will_retry_until is not None:
                until = format_date(recipient.will_retry_until).decode("ascii")
                block += _wrap(f"It will be tried until {until}.", "      ")
        blocks.append(block)
    what = "The whole message" if report.original_message is not None else "The header of the message"
    blocks.append(_wrap(f"{what} is attached. When you ask about this, give the number {_clean(report.queue_id)}."))
    return "\r\n".join(blocks)


def _line_ends(data: bytes) -> bytes:
    """All line ends as CRLF."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def _header_part(header: bytes) -> bytes:
    """The original header without its empty line, cut at a line end when very long, over-long lines cut."""
    header = header.replace(b"\0", b"").rstrip(b"\r\n") + b"\r\n"
    if len(header) > _MAX_HEADER:
        header = header[: header.rfind(b"\n", 0, _MAX_HEADER) + 1]
    lines = _line_ends(header).split(b"\r\n")
    return b"\r\n".join([line[:_HARD_LINE] for line in lines])


def _is_seven_bit(data: bytes) -> bool:
    return data.isascii() and b"\0" not in data


def _encoding_of(data: bytes) -> bytes:
    return b"7bit" if _is_seven_bit(data) else b"8bit"


def _text_part(kind: bytes, text: str) -> bytes:
    data = text.encode("utf-8")
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, _encoding_of(data), data)


def _original_part(report: DsnReport) -> bytes:
    if report.original_message is not None:
        data = report.original_message
        international = report.smtputf8 and not data[: max(len(report.original_header), 1)].isascii()
        kind = b"message/global" if international else b"message/rfc822"
    else:
        data = _header_part(report.original_header)
        international = report.smtputf8 and not data.isascii()
        kind = b"message/global-headers" if international else b"text/rfc822-headers"
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\nContent-Description: %b\r\n\r\n%b" % (
        kind,
        _encoding_of(data),
        b"Your message" if report.original_message is not None else b"The header of your message",
        data,
    )


def _boundary(report: DsnReport, parts: Sequence[bytes]) -> bytes:
    """A delimiter that no part contains; the same report gives the same one."""
    seed = f"{report.queue_id} {report.message_id} {report.now.timestamp()}".encode("utf-8", "replace")
    while True:
        digest = hashlib.sha256(seed).digest()
        boundary = b"=_dsn_" + base64.b16encode(digest[:15]).lower()
        if not any(boundary in part for part in parts):
            return boundary
        seed = digest


def _subject(report: DsnReport) -> str:
    actions = {recipient.action for recipient in report.recipients}
    for action, subject in _SUBJECTS.items():
        if action in actions:
            return subject
    return "About your message"


def _threading(message_id: str) -> str:
    """RFC 3834 3.1.5, RFC 3834 3.1.6. Only what is a Message-ID by its looks: it is a stranger's text."""
    if not _MESSAGE_ID.fullmatch(message_id):
        return ""
    return f"In-Reply-To: {message_id}\r\nReferences: {message_id}\r\n"


def compose_dsn(report: DsnReport) -> bytes:
    """The whole report with CRLF line ends, ready for the queue with the null sender. RFC 3464 2."""
    international = report.smtputf8 and not all(
        text.isascii() for recipient in report.recipients for text in (recipient.address, recipient.orcpt or "")
    )
    status_kind = b"message/global-delivery-status" if international else b"message/delivery-status"
    status = _status_part(report)
    if not international:
        status = status.encode("ascii", "replace").decode("ascii")
    parts = (
        _text_part(b"text/plain; charset=utf-8", _human_part(report)),
        _text_part(status_kind, status),
        _original_part(report),
    )
    boundary = _boundary(report, parts)
    message_id = _clean(report.message_id).strip("<>")
    encoding = b"7bit" if all(map(_is_seven_bit, parts)) else b"8bit"
    fields = (
        _fold("From", f"Mail Delivery System <{_clean(report.from_address)}>")
        + f"To: <{_clean(report.sender)}>\r\n"
        + _fold("Subject", _subject(report))
        + _fold("Date", format_date(report.now).decode("ascii"))
        + f"Message-ID: <{message_id}>\r\n"
        + _threading(report.original_message_id)
        # RFC 3834 5: no automatic answer may follow
        + "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
    ).encode()
    head = (
        b'%bContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="%b"\r\n'
        b"Content-Transfer-Encoding: %b\r\n\r\nThis is a delivery report in the form of RFC 3464.\r\n"
    ) % (fields, boundary, encoding)
    body = b"".join([b"\r\n--%b\r\n%b" % (boundary, part) for part in parts])
    return b"%b%b\r\n--%b--\r\n" % (head, body, boundary)
