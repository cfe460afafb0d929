"""How a command ends when it does not end well, with response codes (RFC 5804 1.3)."""

from __future__ import annotations

from mailbox_app.errors import MailboxError

_CODES = {
    "script.no_such": "NONEXISTENT",
    "script.exists": "ALREADYEXISTS",
    "script.active": "ACTIVE",
    "script.too_large": "QUOTA/MAXSIZE",
    "script.too_many": "QUOTA/MAXSCRIPTS",
    "store.over_quota": "QUOTA",
}


class Refusal(Exception):
    """Ends the running command with NO."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class BadCommand(Refusal):
    """A refusal that counts towards the end of the session: no client says such things for long."""


def refusal(error: MailboxError) -> Refusal:
    """The answer to an error of the store, the directory or a script: trouble of ours is for now, never for good."""
    text = error.public_text
    return Refusal(text[:1].upper() + text[1:], _CODES.get(error.code, "TRYLATER" if error.temporary else ""))
