"""Where an address leads: aliases followed, details dropped, roles and catch-alls honoured.

Pure rules over a few look-ups (`Source`), so they can be read and tested without a database. Loops end because no address
is visited twice; depth and the number of results are bounded, so no alias can grow one message into thousands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from mailbox_app.accounts.addresses import canonical, without_detail
from mailbox_app.accounts.model import Account, Alias, Resolved

_MAX_DEPTH = 10
"""Aliases of aliases of aliases: more than anybody understands, far less than the stack holds."""
_MAX_RESULTS = 1000
"""One address never stands for more recipients than this."""
_ROLES = ("postmaster", "abuse")  # RFC 2142 5, RFC 5321 4.5.1


class Source(Protocol):
    """The look-ups the rules need; all names canonical."""

    def has_domain(self, name: str) -> bool:
        """Whether mail for it ends here."""
        ...

    def account_at(self, address: str) -> Account | None:
        """Without removed ones."""
        ...

    def alias_at(self, address: str) -> Alias | None:
        """`@domain` is the catch-all."""
        ...

    def first_account(self, domain: str | None) -> Account | None:
        """The oldest of a domain, or of the server."""
        ...

    def oldest_domain(self) -> str | None:
        """Whose postmaster a bare `postmaster` is."""
        ...


def resolve(source: Source, address: str) -> Resolved:
    """What one recipient address comes to."""
    localpart, domain = canonical(address)
    if not domain and localpart == "postmaster":  # RFC 5321 4.5.1: without a domain, too
        domain = source.oldest_domain() or ""
    if not domain or not source.has_domain(domain):
        return Resolved((), (), is_local_domain=False)
    walk = _Walk(source)
    walk.run(localpart, domain)
    return Resolved(tuple(walk.accounts.values()), tuple(walk.outside.values()), is_local_domain=True)


class _Walk:
    """Breadth first, so that every address is met by its shortest way and the depth's bound never depends on the order."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.accounts: dict[int, Account] = {}
        self.outside: dict[str, str] = {}

    def run(self, localpart: str, domain: str) -> None:
        waiting = deque([(localpart, domain, 0)])
        seen = {(localpart, domain)}
        while waiting and len(self.accounts) + len(self.outside) < _MAX_RESULTS:
            localpart, domain, depth = waiting.popleft()
            found = self._find(localpart, domain)
            if isinstance(found, Account):
                self.accounts[found.account_id] = found
                continue
            for target in found:
                name = canonical(target)
                if not self._source.has_domain(name[1]):
                    self.outside.setdefault("@".join(name), target)
                elif name not in seen and depth < _MAX_DEPTH:
                    seen.add(name)
                    waiting.append((*name, depth + 1))

    def _find(self, localpart: str, domain: str) -> Account | Sequence[str]:
        """An account, or the targets of an alias; nothing for an unknown address."""
        plain = without_detail(localpart)
        names = (localpart,) if plain == localpart else (localpart, plain)
        for name in names:
            found = self._exactly(f"{name}@{domain}")
            if found is not None:
                return found
        if plain in _ROLES:
            role = self._role(domain)
            if role is not None:
                return role
        catch_all = self._source.alias_at(f"@{domain}")
        return () if catch_all is None else catch_all.targets

    def _role(self, domain: str) -> Account | Sequence[str] | None:
        return (
            self._exactly(f"postmaster@{domain}")
            or self._source.first_account(domain)
            or self._source.first_account(None)
        )

    def _exactly(self, address: str) -> Account | Sequence[str] | None:
        account = self._source.account_at(address)
        if account is not None:
            return account
        alias = self._source.alias_at(address)
        return None if alias is None else alias.targets
