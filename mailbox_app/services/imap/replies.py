"""Refusals: how a command ends when it does not end well, and which answer each error of the store is. RFC 5530."""

from __future__ import annotations

from mailbox_app.errors import MailboxError
from mailbox_app.proto.imap import response


class Refusal(Exception):
    """Ends the running command with NO (or BAD)."""

    def __init__(self, text: str, code: str = "", status: str = "NO") -> None:
        super().__init__(text)
        self.status = status
        self.line = f"{status} [{code}] {text}" if code else f"{status} {text}"


_CODES = {
    "store.over_quota": "OVERQUOTA",
    "store.no_such_mailbox": "NONEXISTENT",
    "store.mailbox_exists": "ALREADYEXISTS",
    "store.bad_name": "CANNOT",
    "store.too_many_keywords": "LIMIT",
    "store.too_many_mailboxes": "LIMIT",
    "store.too_many_identifiers": "LIMIT",
    "store.no_such_message": "EXPUNGEISSUED",
    "store.busy": "INUSE",
    "store.use_taken": "USEATTR",
}


def refusal(error: MailboxError, *, creatable: bool = False) -> Refusal:
    """The answer to an error of the store; `creatable`: a missing mailbox may be created and the command tried again."""
    code = _CODES.get(error.code, "UNAVAILABLE" if error.temporary else "CANNOT")
    if creatable and error.code == "store.no_such_mailbox":
        code = "TRYCREATE"
    return Refusal(response.text(error.public_text), code)
