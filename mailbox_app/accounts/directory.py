"""The directory over `directory.db`: the reads of `interface.Directory`, and the writers behind the control methods.

Reads may be called on the loop: answers are kept in memory and every read first asks SQLite's data version (microseconds),
so a change made by any process is seen by the next call. A change is durable when its writer returns and is refused whole
when it breaks a rule (`account.exists`, `account.no_such_domain`, ...). Writers are slow: call them through `db.offload`.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta

from mailbox_app.accounts import alias_tables, credential_tables, key_tables, routing, tables
from mailbox_app.accounts.addresses import (
    canonical,
    canonical_domain,
    check_account_address,
    check_alias_address,
    check_domain,
    check_separators,
)
from mailbox_app.accounts.alias_rules import AliasSettings, checked_alias
from mailbox_app.accounts.directory_keys import DirectoryKeys
from mailbox_app.accounts.free_names import check_free, check_own_addresses, no_such_domain
from mailbox_app.accounts.memory import RememberedReads
from mailbox_app.accounts.model import Account, AccountState, Alias, AppPassword, DkimKey, Domain, KeyState, Resolved
from mailbox_app.accounts.tables import Credential, Removed
from mailbox_app.clock import Clock, SystemClock
from mailbox_app.db.sqlite import Database
from mailbox_app.errors import AccountError
from mailbox_app.ids import AccountId
from mailbox_app.proto.sasl.scram_keys import ScramKeys

_MAX_APP_PASSWORDS = 100
_TRASH_DAYS = 30


class SqliteDirectory(DirectoryKeys):
    """Domains, accounts, aliases and signing keys in one SQLite file. Safe from any thread, not across a fork."""

    def __init__(self, path: str | os.PathLike[str], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._database = Database(path, tables.MIGRATIONS)
        self._held = ExitStack()
        self._reads = RememberedReads(self._held.enter_context(self._database.reading()))
        self._logins: dict[AccountId, int] = {}
        self._secret = b""

    def close(self) -> None:
        """Write what was recorded and close the file."""
        self.flush_logins()
        self._held.close()
        self._database.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; afterwards our own reads look again at once, without a hint."""
        with self._database.transaction() as connection:
            yield connection
        self._reads.look_again()

    # reading

    def is_local_domain(self, domain: str) -> bool:
        """Whether mail for this domain ends here."""
        return self._reads.has_domain(canonical_domain(domain))

    def resolve(self, address: str) -> Resolved:
        """Aliases followed (loops and depth bounded), duplicates removed; bare `postmaster` means ours."""
        key = ("resolve", address)
        recent = self._reads.recent(key)
        if isinstance(recent, Resolved) and recent.is_known:  # nobody is refused unasked
            return recent
        return self._reads.get(key, lambda _: routing.resolve(self._reads, address))

    def members(self, alias: Alias) -> Resolved:
        """Everybody a list's mail goes to."""
        return self._reads.get(("members", alias.address), lambda _: routing.members(self._reads, alias))

    def configure(self, separators: str, hostname: str) -> None:
        """What routing takes from the configuration; at the start and at each reload."""
        self._reads.configure(separators, canonical_domain(hostname))

    def look_again(self) -> None:
        """Another process changed the directory, perhaps; called at hints."""
        self._reads.look_again()

    def account(self, address: str) -> Account | None:
        """The account with exactly this address."""
        return self._reads.account_at("@".join(canonical(address)))

    def account_by_id(self, account_id: AccountId) -> Account | None:
        """The account with this id."""
        return self._reads.known(("id", account_id), lambda connection: tables.account_with_id(connection, account_id))

    def owns(self, account: Account, address: str) -> bool:
        """Whether the account may send as this address: its own (with any +detail) or an alias that leads to it."""
        key = ("sending", address)
        recent = self._reads.recent(key)
        if isinstance(recent, Resolved) and _leads_to(recent, account):  # nobody is refused unasked
            return True
        return _leads_to(self._reads.get(key, lambda _: routing.resolve(self._reads, address, sending=True)), account)

    def dkim_keys(self, domain: str) -> Sequence[DkimKey]:
        """Active signing keys of a domain."""
        name = canonical_domain(domain)
        return self._reads.known(
            ("dkim", name), lambda connection: tuple(key_tables.keys_of(connection, name, [KeyState.ACTIVE]))
        )

    def credential(self, address: str) -> Credential | None:
        """What a login as this address is checked against."""
        name = "@".join(canonical(address))
        return self._reads.get(("credential", name), lambda connection: tables.credential(connection, name))

    def existing(self, address: str) -> Account:
        """As `account`, but `account.no_such_address` for an unknown one."""
        account = self.account(address)
        if account is None:
            name = "@".join(canonical(address)).rstrip("@")
            raise AccountError("account.no_such_address", f"there is no account {name}")
        return account

    def domains(self) -> Sequence[Domain]:
        """All, by name."""
        with self._database.reading() as connection:
            return tables.domains(connection)

    def domain(self, name: str) -> Domain:
        """One domain with its counts; `account.no_such_domain`."""
        with self._database.reading() as connection:
            found = tables.domains(connection, canonical_domain(name))
        if not found:
            raise no_such_domain(canonical_domain(name))
        return found[0]

    def accounts(self, domain: str | None = None) -> Sequence[Account]:
        """All, by address, without removed ones."""
        with self._database.reading() as connection:
            return tables.accounts(connection, None if domain is None else canonical_domain(domain))

    def aliases(self, domain: str | None = None) -> Sequence[Alias]:
        """All, by address."""
        with self._database.reading() as connection:
            return alias_tables.aliases(connection, None if domain is None else canonical_domain(domain))

    def removed_accounts(self, address: str | None = None) -> Sequence[Removed]:
        """The trash, newest first."""
        with self._database.reading() as connection:
            return tables.removed_accounts(connection, None if address is None else "@".join(canonical(address)))

    # domains

    def add_domain(self, name: str, alias_of: str = "") -> Domain:
        """`alias_of`: the domain that it stands for; `account.domain_exists`, `account.bad_address`."""
        name = check_domain(name)
        target = check_domain(alias_of) if alias_of else ""
        with self._changing() as connection:
            if target:
                check_own_addresses(connection, target)
            if not tables.insert_domain(connection, name, self._now(), target):
                raise AccountError("account.domain_exists", f"{name} is one of our domains already")
            tables.bump(connection)
        return self.domain(name)

    def set_separators(self, name: str, separators: str | None) -> Domain:
        """What stands between a name and its detail in this domain; None: as the configuration says."""
        domain = self.domain(name)
        checked = None if separators is None else check_separators(separators)
        with self._changing() as connection:
            tables.update_separators(connection, domain.name, checked)
            tables.bump(connection)
        return self.domain(name)

    def remove_domain(self, name: str) -> Domain:
        """With its signing keys; `account.domain_in_use` while it has accounts or aliases."""
        domain = self.domain(name)
        with self._changing() as connection:
            users = len(tables.accounts(connection, domain.name))
            aliases = len(alias_tables.aliases(connection, domain.name))
            followers = tables.domains_for(connection, domain.name)
            if followers:
                raise AccountError(
                    "account.domain_in_use",
                    f"{', '.join(followers)} stands for {domain.name}",
                    fields={"remedy": "Remove the domains that stand for it first."},
                )
            if users or aliases:
                raise AccountError(
                    "account.domain_in_use",
                    f"{domain.name} still has {users} account(s) and {aliases} alias(es)",
                    fields={"remedy": "Remove them first."},
                )
            tables.delete_domain(connection, domain.name)
            tables.bump(connection)
        return domain

    # accounts

    def add_account(
        self, address: str, password_hash: str, quota_bytes: int = 0, scram: Sequence[ScramKeys] = ()
    ) -> Account:
        """`account.exists` when an account or an alias has the address; `account.no_such_domain`."""
        address = check_account_address(address)
        _check_quota(quota_bytes)
        with self._changing() as connection:
            check_free(connection, address)
            account_id = tables.insert_account(connection, address, password_hash, quota_bytes, self._now())
            credential_tables.replace_scram_keys(connection, account_id, 1, scram)
            tables.bump(connection)
        return self._existing_id(account_id)

    def set_password(self, address: str, password_hash: str, scram: Sequence[ScramKeys] = ()) -> Account:
        """All remembered logins become void. `scram`: keys of the same password."""

        def change(connection: sqlite3.Connection, account_id: AccountId) -> None:
            tables.update_password(connection, account_id, password_hash)
            version = credential_tables.version_of(connection, account_id)
            credential_tables.replace_scram_keys(connection, account_id, version, scram)

        return self._change(address, change)

    def set_quota(self, address: str, quota_bytes: int, quota_messages: int | None = None) -> Account:
        """0: no limit; None: as it is."""
        _check_quota(quota_bytes)
        _check_quota(quota_messages or 0)
        return self._change(
            address,
            lambda connection, account_id: tables.update_quota(connection, account_id, quota_bytes, quota_messages),
        )

    def set_state(self, address: str, state: AccountState) -> Account:
        """ACTIVE or DISABLED; removal has its own call."""
        if state is AccountState.REMOVED:
            raise AccountError("account.bad_state", "an account is removed by remove_account")
        return self._change(
            address, lambda connection, account_id: tables.update_state(connection, account_id, state, None)
        )

    def remove_account(self, address: str) -> Account:
        """Into the trash for 30 days: no login, no mail. The store moves its mail; tell where by `set_removed_place`."""
        account = self.existing(address)
        with self._changing() as connection:
            tables.update_state(connection, account.account_id, AccountState.REMOVED, self._now())
            tables.bump(connection)
        return account

    def set_removed_place(self, account_id: AccountId, place: str) -> None:
        """Where a removed account's mail lies now; "" after it went back."""
        with self._changing() as connection:
            tables.update_removed_place(connection, account_id, place)

    def restore_account(self, account_id: AccountId) -> Account:
        """Out of the trash, disabled if it was; `account.exists` when its address was given away, `account.no_such_domain`."""
        with self._changing() as connection:
            found = [entry for entry in tables.removed_accounts(connection) if entry.account.account_id == account_id]
            if not found:
                raise AccountError("account.not_removed", "this account is not in the trash")
            check_free(connection, found[0].account.address)
            tables.restore_state(connection, account_id)
            tables.bump(connection)
        return self._existing_id(account_id)

    def expired_removals(self) -> Sequence[Removed]:
        """Accounts whose 30 days in the trash are over."""
        limit = self._clock.now() - timedelta(days=_TRASH_DAYS)
        return [entry for entry in self.removed_accounts() if entry.removed_at <= limit]

    def forget_account(self, account_id: AccountId) -> None:
        """Drop a removed account for good; its id is never used again."""
        with self._changing() as connection:
            tables.delete_account(connection, account_id)

    def rehash(self, credential: Credential, password_hash: str) -> None:
        """The same password under newer parameters; without effect when it was changed meanwhile."""
        with self._changing() as connection:
            tables.replace_hash(connection, credential.account.account_id, credential.version, password_hash)
            tables.bump(connection)

    def keep_scram_keys(self, credential: Credential, keys: Sequence[ScramKeys]) -> None:
        """Keys for a password that had none; without effect when it was changed meanwhile."""
        with self._changing() as connection:
            credential_tables.replace_scram_keys(connection, credential.account.account_id, credential.version, keys)
            tables.bump(connection)

    def app_passwords(self, address: str) -> Sequence[AppPassword]:
        """Those of an account, the oldest first; `account.no_such_address`."""
        account = self.existing(address)
        with self._database.reading() as connection:
            return credential_tables.app_passwords(connection, account.account_id)

    def add_app_password(
        self, address: str, label: str, protocols: Sequence[str], selector: str, password_hash: str
    ) -> AppPassword:
        """`account.label_taken`, `account.too_many_app_passwords`, `account.no_such_address`."""
        account = self.existing(address)
        with self._changing() as connection:
            if len(credential_tables.app_passwords(connection, account.account_id)) >= _MAX_APP_PASSWORDS:
                raise AccountError("account.too_many_app_passwords", f"there are {_MAX_APP_PASSWORDS} already")
            if not credential_tables.insert_app_password(
                connection, account.account_id, label, selector, protocols, password_hash, self._now()
            ):
                raise AccountError("account.label_taken", f"{account.address} has an app password {label} already")
            tables.bump(connection)
        return next(each for each in self.app_passwords(address) if each.label == label)

    def revoke_app_password(self, address: str, label: str) -> AppPassword:
        """All sessions of the account end, its other passwords stay good; `account.no_such_app_password`."""
        account = self.existing(address)
        found = [each for each in self.app_passwords(address) if each.label == label]
        if not found:
            raise AccountError("account.no_such_app_password", f"{account.address} has no app password {label}")
        with self._changing() as connection:
            credential_tables.delete_app_password(connection, account.account_id, label)
            tables.bump(connection)
        return found[0]

    def secret(self) -> bytes:
        """A random value of this server, the same in all processes and for ever: what is made up from it stays the same."""
        if not self._secret:
            with self._database.reading() as connection:
                found = credential_tables.secret(connection, "scram")
            if found is None:
                with self._database.transaction() as connection:
                    credential_tables.keep_secret(connection, "scram", secrets.token_bytes(32))
                    found = credential_tables.secret(connection, "scram")
            assert found is not None
            self._secret = found
        return self._secret

    # last logins

    def record_login(self, account_id: AccountId, at: datetime) -> None:
        """Remember in memory until `flush_logins`; never slow."""
        self._logins[account_id] = int(at.timestamp())

    def flush_logins(self) -> None:
        """Write remembered logins in one transaction; losing the last few seconds of them in a crash is fine."""
        logins, self._logins = self._logins, {}
        if logins:
            with self._changing() as connection:
                tables.update_logins(
                    connection, [(seconds, account_id) for account_id, seconds in list(logins.items())]
                )

    # aliases

    def add_alias(self, address: str, targets: Sequence[str], settings: AliasSettings | None = None) -> Alias:
        """A new alias, or new targets for one that is there; `@domain` is the catch-all."""
        address = check_alias_address(address)
        with self._changing() as connection:
            before = alias_tables.alias_at(connection, address)
            alias = checked_alias(address, targets, settings or AliasSettings(), before, self._clock.now())
            if before is None:
                check_free(connection, address)
            alias_tables.insert_alias(connection, alias)
            tables.bump(connection)
        return self.alias(address)

    def update_alias(self, address: str, targets: Sequence[str], settings: AliasSettings) -> Alias:
        """Change one that is there; no targets: as they are. `account.no_such_alias`"""
        return self.add_alias(self.alias(address).address, targets, settings)

    def aliases_naming(self, address: str) -> Sequence[str]:
        """Aliases and lists that lead to this address or name it."""
        with self._database.reading() as connection:
            return alias_tables.naming(connection, "@".join(canonical(address)))

    def alias(self, address: str) -> Alias:
        """The alias with this address; `account.no_such_alias`."""
        found = self._reads.alias_at("@".join(canonical(address)))
        if found is None:
            raise AccountError("account.no_such_alias", f"there is no alias {'@'.join(canonical(address))}")
        return found

    def remove_alias(self, address: str) -> Alias:
        """`account.no_such_alias`."""
        alias = self.alias(address)
        with self._changing() as connection:
            alias_tables.delete_alias(connection, alias.address)
            tables.bump(connection)
        return alias

    # signing keys

    def _now(self) -> int:
        return int(self._clock.epoch_seconds())

    def _change(self, address: str, change: Callable[[sqlite3.Connection, AccountId], None]) -> Account:
        account = self.existing(address)
        with self._changing() as connection:
            change(connection, account.account_id)
            tables.bump(connection)
        return self._existing_id(account.account_id)

    def _existing_id(self, account_id: AccountId) -> Account:
        account = self.account_by_id(account_id)
        if account is None:
            raise AccountError("account.no_such_address", "the account is gone meanwhile")
        return account


def _leads_to(ways: Resolved, account: Account) -> bool:
    return any(found.account_id == account.account_id for found in ways.accounts)


def _check_quota(quota_bytes: int) -> None:
    if not 0 <= quota_bytes < 1 << 62:
        raise AccountError("account.bad_quota", "a quota is a number of bytes, 0 for no limit")
