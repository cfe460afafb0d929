"""How a command ends when it does not end well, with response codes (RFC 2449 8, RFC 3206)."""

from __future__ import annotations

from mailbox_app.errors import MailboxError


class Refusal(Exception):
    """Ends the running command with -ERR."""

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.text = f"[{code}] {text}" if code else text


class BadCommand(Refusal):
    """A refusal that counts towards the end of the session: no client says such things for long."""


def refusal(error: MailboxError) -> Refusal:
    """The answer to an error of the store or the directory: trouble of ours is for now, never for good."""
    text = "".join(char if " " <= char <= "~" else "?" for char in error.public_text[:200])
    return Refusal(text[:1].upper() + text[1:], "SYS/TEMP" if error.temporary else "")
