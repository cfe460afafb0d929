"""The directory's seam: who exists here. Synchronous; reads are cached by SQLite's data version, so they cost microseconds
and may be called on the loop; everything that writes or hashes goes through `db.offload`.

Addresses come in any case and are matched in lower case; a `+detail` of the local part (or behind what else the domain
separates details by) is ignored when the whole local part is unknown. `postmaster@` and `abuse@` of every local domain always
resolve (to the domain's postmaster alias, else to its first account, else to the first account of the server).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mailbox_app.accounts.model import Account, Alias, DkimKey, Domain, Resolved
from mailbox_app.ids import AccountId


class Directory(Protocol):
    """Reading side, used by sessions and delivery."""

    def is_local_domain(self, domain: str) -> bool:
        """Whether mail for this domain ends here."""
        ...

    def resolve(self, address: str) -> Resolved:
        """Aliases followed (loops and depth bounded), duplicates removed; bare `postmaster` means ours."""
        ...

    def members(self, alias: Alias) -> Resolved:
        """Everybody a list's mail goes to: accounts here and outside addresses."""
        ...

    def account(self, address: str) -> Account | None:
        """The account with exactly this address."""
        ...

    def account_by_id(self, account_id: AccountId) -> Account | None:
        """The account with this id."""
        ...

    def owns(self, account: Account, address: str) -> bool:
        """Whether the account may send as this address: its own (with any +detail) or an alias whose members may."""
        ...

    def dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        """Active signing keys of a domain."""
        ...

    def domains(self) -> Sequence[Domain]:
        """All, by name."""
        ...

    def accounts(self, domain: str | None = None) -> Sequence[Account]:
        """All, by address."""
        ...

    def aliases(self, domain: str | None = None) -> Sequence[Alias]:
        """All, by address."""
        ...


class Authenticator(Protocol):
    """Checks a login. One for every protocol; slow by design, so it is asynchronous and bounded in parallelism."""

    async def login(self, address: str, password: str, *, protocol: str, remote_ip: str) -> Account | None:
        """The account, or None for any kind of refusal: unknown, wrong, disabled. Takes the same time for all (D16)."""
        ...
