"""Replies of an SMTP server, and the error that knows which reply it is.

A reply's text may be shown to strangers. Each reply has an enhanced status code (RFC 2034) except the greeting, the answers to
HELO and EHLO, and the intermediate ones (3xx).
"""

from __future__ import annotations

from typing import NamedTuple

from mailbox_app.errors import MailboxError


class Reply(NamedTuple):
    """One reply; `text` may hold several lines, separated by a line feed."""

    code: int
    enhanced: str
    text: str

    def encode(self) -> bytes:
        """The wire form, with CRLF. Text that is not ASCII goes out as UTF-8."""
        start = f"{self.enhanced} " if self.enhanced else ""
        if "\n" not in self.text:
            return f"{self.code} {start}{self.text}\r\n".encode()
        *lines, last = self.text.split("\n")
        more = "".join(f"{self.code}-{start}{line}\r\n" for line in lines)
        return f"{more}{self.code} {start}{last}\r\n".encode()

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"


class Refusal(MailboxError):
    """A refusal with its reply; `reason` is the stable word for metrics and the mail log.

    `address` is the sender or recipient it is about, set by who knows it.
    """

    def __init__(self, code: int, enhanced: str, text: str, *, reason: str, address: str = "") -> None:
        super().__init__(f"smtp.{reason}", text, temporary=code < 500)
        self.reply = Reply(code, enhanced, text)
        self.reason = reason
        self.address = address


def reply_for(error: MailboxError) -> Reply:
    """What a peer is told about an error: its own reply, or a general one. Local trouble is temporary."""
    if isinstance(error, Refusal):
        return error.reply
    if error.code == "store.over_quota":
        return Reply(452, "4.2.2", "The mailbox is full, try again later")
    if error.code in ("store.full", "queue.full"):
        return Reply(452, "4.3.1", "Insufficient storage, try again later")
    return Reply(451, "4.3.0", "Local trouble, try again later")
