"""Whether a new address may be given away: checks inside the transaction that does it."""

from __future__ import annotations

import sqlite3

from mailbox_app.accounts import alias_tables, tables
from mailbox_app.errors import AccountError


def check_free(connection: sqlite3.Connection, address: str) -> None:
    """Inside the transaction, so that two operators cannot give one address away twice."""
    domain = address.rpartition("@")[2]
    check_own_addresses(connection, domain)
    if tables.account_at(connection, address) is not None:
        raise AccountError("account.exists", f"there is an account {address} already")
    if alias_tables.alias_at(connection, address) is not None:
        raise AccountError("account.exists", f"{address} is an alias already")


def check_own_addresses(connection: sqlite3.Connection, domain: str) -> None:
    """The domain is ours and stands for no other."""
    rule = tables.rule_of(connection, domain)
    if rule is None:
        raise no_such_domain(domain)
    if rule.alias_of:
        raise AccountError(
            "account.domain_is_alias",
            f"{domain} stands for {rule.alias_of} and has no addresses of its own",
            fields={"remedy": f"Use {rule.alias_of}."},
        )


def no_such_domain(name: str) -> AccountError:
    """The error for a domain that is not ours."""
    return AccountError(
        "account.no_such_domain",
        f"{name} is not one of our domains",
        fields={"remedy": f"Add it first: mailbox domain add {name}"},
    )
