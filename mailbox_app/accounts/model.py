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
    alias_of: str = ""
    """This whole domain stands for that one: it has no addresses of its own."""
    separators: str | None = None
    """What stands between a name and its detail here; None: as the server's configuration says; "": nothing does."""


@dataclass(frozen=True, slots=True)
class DomainRule:
    """What routing needs to know of a domain."""

    alias_of: str = ""
    separators: str | None = None


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


class AliasKind(StrEnum):
    """What an alias does with mail."""

    ALIAS = "alias"
    """Hands it on as it is."""
    LIST = "list"
    """Checks who posts, names itself in the header, and takes the bounces."""


class Post(StrEnum):
    """Who may post to a list."""

    ANYONE = "anyone"
    MEMBERS = "members"
    POSTERS = "posters"
    """The addresses named with the list."""
    DOMAIN = "domain"
    """Addresses of the list's own domain."""


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that stands for others; `@domain` is the catch-all. Targets may be local or outside."""

    address: str
    targets: Sequence[str]
    created_at: datetime
    kind: AliasKind = AliasKind.ALIAS
    description: str = ""
    enabled: bool = True
    """A disabled alias refuses mail and lets nobody send as it; no catch-all takes its place."""
    members_may_send: bool = True
    """Whether who gets its mail may also send as it."""
    post: Post = Post.ANYONE
    """Lists only."""
    posters: Sequence[str] = ()
    """With `Post.POSTERS`: canonical addresses."""
    owner: str = ""
    """Lists only: who gets the bounces; "" is the domain's postmaster."""
    max_bytes: int = 0
    """Lists only: the largest message; 0: the server's limit."""

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return self.kind is AliasKind.LIST

    @property
    def bounces_to(self) -> str:
        """A list's envelope sender: its bounces reach the owner and no poster."""
        localpart, _, domain = self.address.rpartition("@")
        return f"{localpart}-bounces@{domain}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What one recipient address comes to: local accounts, outside addresses, lists, or nothing (then refuse)."""

    accounts: Sequence[Account]
    outside: Sequence[str]
    is_local_domain: bool
    canonical: str = ""
    """The address after domain aliases and without its detail: what a greylist, a rate or an SRS domain is keyed by."""
    detail: str = ""
    """What stood behind the separator, in the sender's own case; "" when the whole local part is a name."""
    lists: Sequence[Alias] = ()
    """Lists that mail for the address is posted to."""
    is_disabled: bool = False
    """There is such an alias, and it is disabled."""

    @property
    def is_known(self) -> bool:
        """Whether it leads anywhere."""
        return bool(self.accounts or self.outside or self.lists)


class KeyState(StrEnum):
    """The life of a signing key."""

    PREPARED = "prepared"
    """Made; it signs when its record is seen everywhere."""
    ACTIVE = "active"
    RETIRING = "retiring"
    """Signs no more; its record stays while signed mail may still be under way."""
    RETIRED = "retired"
    """Its record may go; the private half is gone already."""


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
    state: KeyState = KeyState.ACTIVE
    changed_at: datetime | None = None
    """When it came into this state."""
    published_at: datetime | None = None
    """Since when every name server of the domain has its record, as far as somebody looked."""

    @property
    def active(self) -> bool:
        """Whether it signs."""
        return self.state is KeyState.ACTIVE


def at(seconds: int) -> datetime:
    """A stored time."""
    return datetime.fromtimestamp(seconds, UTC)
