"""Domains, accounts, aliases: plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from mailbox_app.ids import AccountId, AccountRef


class AccountState(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"
    """No login; mail is still accepted and kept."""
    REMOVED = "removed"
    """In the trash for 30 days; its address is refused."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain whose mail ends here. `name` is lower case A-label form."""

    name: str
    created_at: datetime
    account_count: int = 0
    alias_count: int = 0
    dkim_selectors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """A person or a program with a mailbox. `address` is the canonical, lower-case form."""

    account_id: AccountId
    address: str
    state: AccountState
    quota_bytes: int
    """0: no limit."""
    created_at: datetime
    last_login_at: datetime | None = None
    credential_version: int = 1
    """Grows with every new password: a login with an older one counts no more."""
    quota_messages: int = 0
    """0: no limit."""

    def still_lets_in(self, now: Account | None) -> bool:
        """Whether a session that logged in as this account may go on, the account being `now` what it is."""
        return (
            now is not None and now.state is AccountState.ACTIVE and now.credential_version == self.credential_version
        )

    @property
    def ref(self) -> AccountRef:
        """Where its mail lives."""
        localpart, _, domain = self.address.rpartition("@")
        return AccountRef(self.account_id, domain, localpart, self.quota_bytes, self.quota_messages)


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A password of one program: good for some protocols only, revoked alone."""

    app_password_id: int
    label: str
    selector: str
    """Its first group, by which it is found; no secret."""
    protocols: Sequence[str]
    password_hash: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that stands for others; `@domain` is the catch-all. Targets may be local or outside."""

    address: str
    targets: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """What one recipient address comes to: local accounts, outside addresses, or neither (then refuse)."""

    accounts: Sequence[Account]
    outside: Sequence[str]
    is_local_domain: bool


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A signing key of a domain; the private key is PEM and never leaves the process."""

    domain: str
    selector: str
    algorithm: str
    """rsa or ed25519."""
    private_pem: bytes
    public_txt: str
    """The TXT record's value."""
    created_at: datetime
    active: bool


def at(seconds: int) -> datetime:
    """A stored time."""
    return datetime.fromtimestamp(seconds, UTC)
