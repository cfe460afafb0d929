"""Passwords: the rules for new ones, one form for equal ones, Argon2id for stored ones.

Argon2id with 19 MiB, 2 passes, 1 lane (the OWASP minimum): about 20 ms of one core here, and small enough that a machine with
512 MB survives a burst of logins. Hashing is slow by design: never on the loop, and never many at once (`login.py`).
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mailbox_app.accounts.addresses import canonical
from mailbox_app.errors import AccountError
from mailbox_app.proto.sasl.scram_keys import HASHES, ScramKeys, derive

MIN_BYTES = 8
RECOMMENDED_BYTES = 12
MAX_BYTES = 256
_TIME_COST = 2
_MEMORY_KIB = 19_456
_LANES = 1
SCRAM_ITERATIONS = 20_000
"""RFC 7677 4 asks for 4,096 at least; the *client* computes them at each login, also a telephone: here 5 ms."""
SCRAM_SALT_BYTES = 16


def prepare(password: str) -> str:
    """The form that is hashed: RFC 8265 4.2.2, so that the same password typed on two systems is the same."""
    if password.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


def check_new(password: str, address: str) -> str:
    """The prepared form of a password that may be set; `account.bad_password` says which rule it breaks."""
    prepared = prepare(password)
    length = len(prepared.encode("utf-8", "surrogatepass"))
    if length < MIN_BYTES:
        raise _bad(f"has {length} bytes and needs at least {MIN_BYTES}")
    if length > MAX_BYTES:
        raise _bad(f"has {length} bytes and may have at most {MAX_BYTES}")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in prepared):  # RFC 8265 4.1: no controls
        raise _bad("has control characters")
    localpart, domain = canonical(address)
    if prepared.casefold() in {localpart, domain, f"{localpart}@{domain}"}:
        raise _bad("is a part of the address")
    if len(set(prepared)) == 1:
        raise _bad("is one character again and again")
    return prepared


class Hasher:
    """Argon2id under the current parameters; takes prepared passwords."""

    def __init__(self) -> None:
        self._argon2 = PasswordHasher(time_cost=_TIME_COST, memory_cost=_MEMORY_KIB, parallelism=_LANES)

    def hash(self, prepared: str) -> str:
        """A new salted hash in PHC form."""
        return self._argon2.hash(prepared.encode("utf-8", "surrogatepass"))

    def verify(self, stored: str, prepared: str) -> bool:
        """Whether the password is the stored one; a damaged hash is nobody's."""
        try:
            return self._argon2.verify(stored, prepared.encode("utf-8", "surrogatepass"))
        except (VerificationError, InvalidHashError):
            return False

    def scram_keys(self, prepared: str) -> Sequence[ScramKeys]:
        """New salted keys under each hash of SCRAM."""
        password = prepared.encode("utf-8", "surrogatepass")
        return [derive(name, password, secrets.token_bytes(SCRAM_SALT_BYTES), SCRAM_ITERATIONS) for name in HASHES]

    def is_outdated(self, stored: str) -> bool:
        """Whether the parameters changed since it was stored."""
        return self._argon2.check_needs_rehash(stored)


def _bad(why: str) -> AccountError:
    return AccountError(
        "account.bad_password",
        f"the password {why}",
        fields={"remedy": f"Choose one of {RECOMMENDED_BYTES} characters or more."},
    )
