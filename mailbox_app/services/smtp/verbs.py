"""The table of SMTP commands: a row each, in the order HELP tells them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from mailbox_app.proto.smtp.replies import Reply
from mailbox_app.services.smtp import content, hello, lmtp, login, transaction

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

Handler = Callable[["SmtpSession", bytes], Awaitable[Reply | bytes | None]]

_LINE = 512  # RFC 5321 4.5.3.1.4


class Verb(NamedTuple):
    """One command."""

    name: bytes
    handler: Handler
    limit_bytes: int = _LINE
    """Of the whole line with its line end."""
    needs_hello: bool = False
    is_counted: bool = True
    """Counts against the limit of commands that bring no message on its way."""


_ROWS = (
    Verb(b"EHLO", hello.ehlo),
    Verb(b"HELO", hello.helo),
    Verb(b"LHLO", lmtp.lhlo),
    Verb(b"STARTTLS", hello.starttls),
    Verb(b"AUTH", login.auth, 12_288, needs_hello=True),  # RFC 4954 4
    # SIZE 26 (RFC 1870 4), BODY 17 (RFC 6152 2), SMTPUTF8 10 (RFC 6531 3.1), RET and ENVID 116 (RFC 3461 10.1),
    # AUTH 500 (RFC 4954 3), HOLDFOR and HOLDUNTIL 34 (RFC 4865 2)
    Verb(b"MAIL", transaction.mail, _LINE + 26 + 17 + 10 + 116 + 500 + 34, needs_hello=True),
    # NOTIFY 28 and ORCPT 500 (RFC 3461 10.1), SMTPUTF8 10 (RFC 6531 3.1)
    Verb(b"RCPT", transaction.rcpt, _LINE + 528 + 10, needs_hello=True, is_counted=False),
    Verb(b"DATA", content.data, needs_hello=True),
    Verb(b"BDAT", content.bdat, needs_hello=True, is_counted=False),
    Verb(b"RSET", transaction.rset),
    Verb(b"NOOP", hello.noop),
    Verb(b"VRFY", hello.vrfy),
    Verb(b"EXPN", hello.expn),
    Verb(b"HELP", hello.help_),
    Verb(b"QUIT", hello.quit_),
)

VERBS = {row.name: row for row in _ROWS}
