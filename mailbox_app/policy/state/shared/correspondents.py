"""Correspondents over Redis: for each account a sorted set of the addresses it wrote to, by the time it did.

Accounts go by their addresses: their numbers are each node's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import StoreError
from mailbox_app.ids import AccountId
from mailbox_app.policy.state import correspondents
from mailbox_app.policy.state.correspondents import KEPT_SECONDS, WrittenLately
from mailbox_app.policy.state.trouble import Trouble

_MAX_OF_ACCOUNT = 20_000
"""Some 3 MB."""
_MAX_ACCOUNTS_ASKED = 100


class RedisCorrespondents(WrittenLately):
    """`Correspondents` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock, name_of: Callable[[AccountId], str]) -> None:
        super().__init__(clock)
        self._link = link
        self._name_of = name_of
        log = structlog.get_logger("greylist")
        self._unreadable, self._unwritable = (
            Trouble(log, event) for event in ("correspondents_unreadable", "correspondents_unwritable")
        )

    def _write(self, pairs: Sequence[tuple[AccountId, str]]) -> None:
        names: dict[AccountId, dict[str, None]] = {}
        for account_id, name in pairs:
            names.setdefault(account_id, {})[name] = None
        for account_id, each in names.items():
            self._write_of(account_id, list(each))

    def _write_of(self, account_id: AccountId, names: Sequence[str]) -> None:
        now = self._clock.epoch_seconds()
        key, most = self._key(account_id), min(_MAX_OF_ACCOUNT, correspondents.MAX_ROWS)
        try:
            self._link.together(
                ("ZADD", key, *(word for name in names for word in (now, name))),
                ("ZREMRANGEBYSCORE", key, "-inf", now - KEPT_SECONDS),
                ("ZREMRANGEBYRANK", key, 0, -most - 1),
                ("EXPIRE", key, int(KEPT_SECONDS)),
            )
        except StoreError as error:
            self._unwritable.met(error)
            return
        self._unwritable.over()
        self._remember([(account_id, name) for name in names], now)

    def knows(self, account_ids: Sequence[AccountId], address: str) -> bool:
        """Whether one of the accounts wrote to this address."""
        if not account_ids or not address:
            return False
        if self._is_noted(account_ids, address):
            return True
        keys = [self._key(each) for each in account_ids[:_MAX_ACCOUNTS_ASKED]]
        since = self._clock.epoch_seconds() - KEPT_SECONDS
        try:
            found = self._link.call(
                lambda client: (
                    client.eval(_LATEST, len(keys), *keys, address.lower())
                    if len(keys) > 1
                    else client.zscore(keys[0], address.lower())
                )
            )
        except StoreError as error:
            self._unreadable.met(error)
            return False
        self._unreadable.over()
        return found is not None and float(found) > since

    def _key(self, account_id: AccountId) -> str:
        return self._link.key("wrote", self._name_of(account_id))


_LATEST = """
local latest = false
for _, key in ipairs(KEYS) do
    local at = redis.call('ZSCORE', key, ARGV[1])
    if at and (not latest or tonumber(at) > tonumber(latest)) then latest = at end
end
return latest
"""
