"""PLAIN (RFC 4616) and LOGIN (never standardised, spoken by old mail programs)."""

from __future__ import annotations

from mailbox_app.proto.sasl.mechanism import Challenge, PasswordClaim, malformed, text_of


class Plain:
    """Everything in one message: identity, name, password."""

    prompt = b""

    def step(self, response: bytes) -> PasswordClaim:
        """RFC 4616 2."""
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise malformed("PLAIN needs two NULs")
        identity, name, password = map(text_of, parts)
        return PasswordClaim(name, password, identity)


class Login:
    """Name, then password; the name may come as initial response."""

    prompt = b"Username:"

    def __init__(self) -> None:
        self._name: str | None = None

    def step(self, response: bytes) -> Challenge | PasswordClaim:
        """The name first."""
        if b"\0" in response:
            raise malformed("LOGIN takes no NUL")
        if self._name is None:
            self._name = text_of(response)
            return Challenge(b"Password:")
        return PasswordClaim(self._name, text_of(response))
