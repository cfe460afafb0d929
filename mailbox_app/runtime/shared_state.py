"""What a node shares with others over Redis besides the queue: the link, and what its accounts are called everywhere."""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.accounts.interface import Directory
from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.db.redis import RedisLink
from mailbox_app.ids import AccountId


def redis_link(config: Config, clock: Clock) -> RedisLink | None:
    """The process's way to Redis; None on a server that is alone. `ConfigError` when address or password are unusable."""
    return RedisLink(config.queue, clock) if config.queue.backend == "redis" else None


def account_names(directory: Directory) -> Callable[[AccountId], str]:
    """An account's address; a number of our own where there is none any more."""

    def name_of(account_id: AccountId) -> str:
        account = directory.account_by_id(account_id)
        return account.address if account is not None else f"#{account_id}"

    return name_of
