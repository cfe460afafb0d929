"""Exemptions from greylisting over Redis: one small hash that each process keeps a copy of.

Whether the copy is the latest is asked once a second at most; what this process changes it sees at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from ipaddress import ip_network

import msgspec
import structlog

from mailbox_app.clock import Clock
from mailbox_app.db.redis import RedisLink
from mailbox_app.errors import MailboxError, StoreError
from mailbox_app.policy.settings import address_of
from mailbox_app.policy.state.allowances import MAX_ROWS, Allowance, names_above, read_recipient, read_value
from mailbox_app.policy.state.trouble import Trouble

_LOOK_SECONDS = 1.0
_ADD = """
-- KEYS: exemptions, mark; ARGV: field, exemption, most
local old = redis.call('HGET', KEYS[1], ARGV[1])
if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local time = redis.call('TIME')
redis.call('SET', KEYS[2], time[1] .. '.' .. time[2])
return 1
"""
_REMOVE = """
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
    redis.call('HDEL', KEYS[1], ARGV[1])
    local time = redis.call('TIME')
    redis.call('SET', KEYS[2], time[1] .. '.' .. time[2])
end
return old
"""


class _Table:
    """The copy, arranged for looking up."""

    def __init__(self, allowances: Sequence[Allowance]) -> None:
        self.all = sorted(allowances, key=lambda each: (each.kind, each.value, each.recipient))
        self._named: dict[tuple[str, str], set[str]] = {}
        self._networks: dict[tuple[int, int], dict[int, tuple[str, set[str]]]] = {}
        """By version and prefix length: shifted number to the network and for whom it is exempt."""
        for each in self.all:
            if each.kind != "network":
                self._named.setdefault((each.kind, each.value), set()).add(each.recipient)
                continue
            network = ip_network(each.value)
            number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
            row = self._networks.setdefault((network.version, network.prefixlen), {})
            row.setdefault(number, (each.value, set()))[1].add(each.recipient)

    def why(self, remote_ip: str, sender: str, recipient: str) -> tuple[str, str] | None:
        """(kind, value) of an exemption that holds."""
        own_domain = recipient.rpartition("@")[2]
        for_whom = {"", recipient, own_domain}
        wanted = [("sender", sender), ("recipient", recipient), ("recipient", own_domain)]
        wanted += [("domain", name) for name in names_above(sender.rpartition("@")[2])]
        for each in wanted:
            if for_whom & self._named.get(each, set()):
                return each
        address = address_of(remote_ip)
        if address is None:
            return None
        for (version, bits), row in self._networks.items():
            if version == address.version:
                found = row.get(int(address) >> (address.max_prefixlen - bits))
                if found is not None and for_whom & found[1]:
                    return "network", found[0]
        return None


class RedisAllowances:
    """`Allowances` for all processes of all nodes."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._keys = [link.key("greylist", "allowed"), link.key("greylist", "allowed", "mark")]
        self._add, self._remove = link.script(_ADD), link.script(_REMOVE)
        self._lock = threading.Lock()
        self._table = _Table([])
        self._mark: bytes | None = b"nothing read yet"
        self._look_at = float("-inf")
        self._trouble = Trouble(structlog.get_logger("greylist"), "greylist_unusable")

    def why(self, remote_ip: str, sender: str, recipient: str) -> str:
        """Why this mail never waits; "": nothing is said about it."""
        try:
            table = self._latest()
        except StoreError as error:
            self._trouble.met(error)
            return "the list of exemptions cannot be read"
        self._trouble.over()
        found = table.why(remote_ip, sender.lower(), recipient.lower())
        return f"the {found[0]} {found[1]} is exempt" if found else ""

    def add(self, kind: str, value: str, note: str = "", recipient: str = "") -> Allowance:
        """Exempt; `greylist.bad_value` when the value is none of its kind."""
        value, _, _ = read_value(kind, value)
        allowance = Allowance(kind, value, note[:200], self._clock.epoch_seconds(), read_recipient(kind, recipient))
        done = self._add(self._keys, (_field(allowance), msgspec.json.encode(allowance), MAX_ROWS))
        if not done:
            raise MailboxError("greylist.full", f"there are {MAX_ROWS} exemptions already", temporary=False)
        self._look_at = float("-inf")
        return allowance

    def remove(self, kind: str, value: str, recipient: str = "") -> Allowance | None:
        """End an exemption; None: there is none."""
        value, _, _ = read_value(kind, value)
        meant = Allowance(kind, value, "", 0.0, read_recipient(kind, recipient))
        found = self._remove(self._keys, (_field(meant),))
        self._look_at = float("-inf")
        return msgspec.json.decode(found, type=Allowance) if found else None

    def all(self) -> Sequence[Allowance]:
        """Every exemption by kind and value."""
        self._look_at = float("-inf")
        return self._latest().all

    def _latest(self) -> _Table:
        with self._lock:
            now = self._clock.monotonic_seconds()
            if now < self._look_at and self._link.is_up:
                return self._table
            mark = self._link.call(lambda client: client.get(self._keys[1]))
            if mark != self._mark:
                mark, rows = self._link.together(("GET", self._keys[1]), ("HVALS", self._keys[0]))
                self._table = _Table([msgspec.json.decode(row, type=Allowance) for row in rows])
                self._mark = mark
            self._look_at = now + _LOOK_SECONDS
            return self._table


def _field(allowance: Allowance) -> str:
    return f"{allowance.kind} {allowance.value} {allowance.recipient}"
