"""What SASL mechanisms have in common: challenges, outcomes, and the facts about the channel below. RFC 4422.

An outcome is a claim: the driver checks it against the accounts. `identity` is the authorization identity the client
asked for, empty for its own. Text that is not UTF-8 is kept as lone surrogates, so it matches nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mailbox_app.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Challenge:
    """To be sent to the client, which answers."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PasswordClaim:
    """A name and its password, to be checked."""

    name: str
    password: str = field(repr=False)
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ProofClaim:
    """A finished SCRAM exchange: `right` says whether the client has the key it was asked for."""

    name: str
    right: bool
    final: bytes
    """The server's own proof; sent only when the login is let in, answered by an empty response."""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class CertificateClaim:
    """The client points to its TLS certificate."""

    identity: str = ""


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """A bearer token, to be shown to whoever gave it out."""

    token: str = field(repr=False)
    identity: str = ""


Outcome = PasswordClaim | ProofClaim | CertificateClaim | TokenClaim


class Mechanism(Protocol):
    """One exchange. After an outcome no further step is taken."""

    @property
    def prompt(self) -> bytes:
        """The challenge for a client that sent no initial response."""
        ...

    def step(self, response: bytes) -> Challenge | Outcome:
        """Take the client's message; `sasl.malformed` when it breaks the mechanism's grammar or rules."""
        ...


class Channel(Protocol):
    """What the connection below the session tells."""

    @property
    def is_tls(self) -> bool:
        """Whether it is encrypted."""
        ...

    @property
    def binding_types(self) -> Sequence[str]:
        """Channel binding types that `binding` knows here, the best first; empty for none."""
        ...

    def binding(self, kind: str) -> bytes | None:
        """The channel binding data; None when there is none of this type."""
        ...

    @property
    def client_addresses(self) -> Sequence[str]:
        """Mail addresses in the client's verified certificate; empty without one."""
        ...


class ClearChannel:
    """A connection without TLS."""

    is_tls = False
    binding_types: Sequence[str] = ()
    client_addresses: Sequence[str] = ()

    def binding(self, kind: str) -> bytes | None:
        """None."""
        return None


def malformed(why: str) -> ProtocolError:
    """The error of a message that breaks the grammar."""
    return ProtocolError("sasl.malformed", why)


def text_of(data: bytes) -> str:
    """UTF-8, anything else as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")
