"""Where an address leads: aliases followed, details dropped, roles and catch-alls honoured.

Pure rules over a few look-ups (`Source`), so they can be read and tested without a database. Loops end because no address
is visited twice; depth and the number of results are bounded, so no alias can grow one message into thousands.

A name is looked for in this order: the whole local part; shorter names, when a separator stands behind them; the `-bounces` and
`-owner` of a list; postmaster and abuse, which always exist; the catch-all. A disabled alias and an account in the trash refuse:
no catch-all takes what was meant for them.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from mailbox_app.accounts.addresses import canonical, detail_starts
from mailbox_app.accounts.model import Account, Alias, DomainRule, Resolved

_MAX_DEPTH = 10
"""Aliases of aliases of aliases: more than anybody understands, far less than the stack holds."""
_MAX_RESULTS = 1000
"""One address never stands for more recipients than this."""
_MAX_NAMES = 6
"""So many names are looked for in one local part with several separators."""
_ROLES = ("postmaster", "abuse")  # RFC 2142 5, RFC 5321 4.5.1
_HOST_ROLES = ("postmaster", "abuse", "mailer-daemon")
"""Of the server's own name, which others see in greetings and reports and write to."""
_LIST_ROLES = ("-bounces", "-owner")


class Source(Protocol):
    """The look-ups the rules need; all names canonical."""

    separators: str
    """What stands between a name and its detail where a domain says nothing."""
    hostname: str
    """The server's own name, canonical."""

    def rule_of(self, name: str) -> DomainRule | None:
        """How addresses of a domain are read; None when mail for it does not end here."""
        ...

    def account_at(self, address: str) -> Account | None:
        """Without removed ones."""
        ...

    def is_removed(self, address: str) -> bool:
        """Whether an account with this address is in the trash."""
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


def resolve(source: Source, address: str, *, sending: bool = False) -> Resolved:
    """What one recipient address comes to. `sending`: only by ways whose followers may also send as the address."""
    localpart, domain = canonical(address)
    if not domain and localpart == "postmaster":  # RFC 5321 4.5.1: without a domain, too
        domain = source.oldest_domain() or ""
    if domain == source.hostname and localpart in _HOST_ROLES and source.rule_of(domain) is None:
        localpart, domain = "postmaster", source.oldest_domain() or ""
    name = _real(source, localpart, domain) if domain else None
    if name is None:
        return Resolved((), (), is_local_domain=False, canonical="@".join((localpart, domain)))
    walk = _Walk(source, sending=sending, into_lists=False)
    walk.run(*name)
    return replace(walk.resolved(), detail=_own_case(address, walk.detail))


def members(source: Source, alias: Alias) -> Resolved:
    """Everybody a list's mail goes to; lists within it count by their members."""
    walk = _Walk(source, sending=False, into_lists=True)
    walk.run(*canonical(alias.address))
    return walk.resolved()


def _real(source: Source, localpart: str, domain: str) -> tuple[str, str] | None:
    """The name in the domain that this domain stands for; None when the domain is not ours."""
    rule = source.rule_of(domain)
    if rule is None:
        return None
    return localpart, rule.alias_of or domain


class _Walk:
    """Breadth first, so that every address is met by its shortest way and the depth's bound never depends on the order."""

    def __init__(self, source: Source, *, sending: bool, into_lists: bool) -> None:
        self._source = source
        self._sending = sending
        self._into_lists = into_lists
        self._start = ""
        self._accounts: dict[int, Account] = {}
        self._outside: dict[str, str] = {}
        self._lists: dict[str, Alias] = {}
        self._met_disabled = False
        self.detail = ""

    def resolved(self) -> Resolved:
        """What was found."""
        found = self._accounts or self._outside or self._lists
        return Resolved(
            tuple(self._accounts.values()),
            tuple(self._outside.values()),
            is_local_domain=True,
            canonical=self._start,
            lists=tuple(self._lists.values()),
            is_disabled=self._met_disabled and not found,
        )

    def run(self, localpart: str, domain: str) -> None:
        """Follow all ways from here."""
        waiting = deque([(localpart, domain, 0)])
        seen = {(localpart, domain)}
        while waiting and len(self._accounts) + len(self._outside) < _MAX_RESULTS:
            localpart, domain, depth = waiting.popleft()
            for target in self._step(localpart, domain, depth):
                name = canonical(target)
                real = _real(self._source, *name)
                if real is None:
                    self._outside.setdefault("@".join(name), target)
                elif real not in seen and depth < _MAX_DEPTH:
                    seen.add(real)
                    waiting.append((*real, depth + 1))

    def _step(self, localpart: str, domain: str, depth: int) -> Sequence[str]:
        """Note what ends here; the targets to follow otherwise."""
        found, name = self._find(localpart, domain)
        if depth == 0:
            self._start = f"{name}@{domain}"
            self.detail = localpart[len(name) + 1 :] if localpart.startswith(name) else ""
        if found is None:
            return ()
        if isinstance(found, Account):
            self._accounts[found.account_id] = found
            return ()
        if not found.enabled:
            self._met_disabled = True
            return ()
        if self._sending and (found.is_list or not found.members_may_send):
            return ()
        if found.is_list and not self._into_lists:
            self._lists[found.address] = found
            return ()
        return found.targets

    def _find(self, localpart: str, domain: str) -> tuple[Account | Alias | None, str]:
        """An account or an alias, and the name it was found by; None for an unknown address."""
        names = self._names(localpart, domain)
        for name in names:
            address = f"{name}@{domain}"
            found = self._source.account_at(address) or self._source.alias_at(address)
            if isinstance(found, Account) or (found is not None and (found.enabled or name not in _ROLES)):
                return found, name
        for name in names:
            role = self._list_role(name, domain) or (self._role(domain) if name in _ROLES else None)
            if role is not None:
                return role, name
        if any(self._source.is_removed(f"{name}@{domain}") for name in names):
            return None, localpart
        return self._source.alias_at(f"@{domain}"), localpart

    def _names(self, localpart: str, domain: str) -> list[str]:
        """The names that a local part may mean: the whole, then without a detail, the longest name first."""
        rule = self._source.rule_of(domain)
        separators = self._source.separators if rule is None or rule.separators is None else rule.separators
        starts = detail_starts(localpart, separators)[:_MAX_NAMES]
        return [localpart, *(localpart[:at] for at in reversed(starts))]

    def _list_role(self, name: str, domain: str) -> Account | Alias | None:
        """Who hears of a list's bounces."""
        for suffix in _LIST_ROLES:
            alias = self._source.alias_at(f"{name.removesuffix(suffix)}@{domain}") if name.endswith(suffix) else None
            if alias is not None and alias.is_list:
                return self._owner(alias, domain)
        return None

    def _owner(self, alias: Alias, domain: str) -> Account | Alias | None:
        if not alias.owner:
            return self._role(domain)
        # a plain alias in between: the owner is looked for like any other target
        return Alias(alias.bounces_to, (alias.owner,), alias.created_at, members_may_send=False)

    def _role(self, domain: str) -> Account | Alias | None:
        found: Account | Alias | None = self._source.account_at(f"postmaster@{domain}")
        alias = None if found else self._source.alias_at(f"postmaster@{domain}")
        if alias is not None and alias.enabled:
            found = alias
        return found or self._source.first_account(domain) or self._source.first_account(None)


def _own_case(address: str, detail: str) -> str:
    """The detail as the sender wrote it: a filter may tell its cases apart."""
    if not detail:
        return ""
    written = unicodedata.normalize("NFC", address.rpartition("@")[0])[-len(detail) :]
    return written if written.lower() == detail else detail
