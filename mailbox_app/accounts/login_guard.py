"""Counts failed logins and says when to stop asking the hasher; remembers good ones so that they need not be asked again.

Two limits over 10 minutes: 10 failures of one remote address for one name, and 10 *different* wrong guesses from one remote
address. So a forgotten phone that repeats its old password all day blocks only itself, not its whole office. Kept in this
process only (`login_failures.py` counts over all of them); every table is bounded and forgets its oldest entries first.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict, deque

from mailbox_app.accounts.tables import Credential

WINDOW_SECONDS = 600.0
MAX_FAILURES = 10
_MAX_TRACKED = 10_000
_VERIFIED_SECONDS = 600.0


class LoginGuard:
    """Sliding limits on failures. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._by_network: OrderedDict[str, OrderedDict[bytes, float]] = OrderedDict()

    def refuses(self, remote_ip: str, name: str, now: float) -> bool:
        """Whether this remote address has guessed enough for now."""
        network = network_of(remote_ip)
        failures = self._by_name.get((network, name))
        while failures and failures[0] <= now - WINDOW_SECONDS:
            failures.popleft()
        guesses = self._by_network.get(network)
        while guesses and next(iter(guesses.values())) <= now - WINDOW_SECONDS:
            guesses.popitem(last=False)
        return bool(failures and len(failures) >= MAX_FAILURES) or bool(guesses and len(guesses) >= MAX_FAILURES)

    def failed(self, remote_ip: str, name: str, fingerprint: bytes, now: float) -> None:
        """Count one failure; `fingerprint` tells equal guesses from different ones."""
        network = network_of(remote_ip)
        failures = self._by_name.setdefault((network, name), deque(maxlen=MAX_FAILURES))
        self._by_name.move_to_end((network, name))
        failures.append(now)
        guesses = self._by_network.setdefault(network, OrderedDict())
        self._by_network.move_to_end(network)
        guesses.pop(fingerprint, None)
        guesses[fingerprint] = now
        if len(guesses) > MAX_FAILURES:
            guesses.popitem(last=False)
        if len(self._by_name) > _MAX_TRACKED:
            self._by_name.popitem(last=False)
        if len(self._by_network) > _MAX_TRACKED:
            self._by_network.popitem(last=False)


class VerifiedLogins:
    """Logins that were right within ten minutes, as keyed digests: a dump of the memory gives no password away."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, float] = OrderedDict()

    def fingerprint(self, name: str, credential: Credential | None, prepared: str) -> bytes:
        """Of one attempt; another after the password or the account changed."""
        account_id, version = (credential.account.account_id, credential.version) if credential else (0, 0)
        text = f"{account_id}\0{version}\0{name}\0{prepared}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, hashlib.sha256)

    def knows(self, fingerprint: bytes, now: float) -> bool:
        """Whether this very attempt was right a short time ago."""
        until = self._good.get(fingerprint)
        return until is not None and now < until

    def remember(self, fingerprint: bytes, now: float) -> None:
        """It was right now."""
        self._good[fingerprint] = now + _VERIFIED_SECONDS
        self._good.move_to_end(fingerprint)
        if len(self._good) > _MAX_TRACKED:
            self._good.popitem(last=False)


def network_of(remote_ip: str) -> str:
    """An IPv4 address, or the /64 one IPv6 customer has to choose from."""
    try:
        address = ipaddress.ip_address(remote_ip)
    except ValueError:
        return remote_ip
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
