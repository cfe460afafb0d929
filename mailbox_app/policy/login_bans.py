"""Bans for clients that try password after password, made from what `accounts/login_failures.py` counts.

The login guard stops a client after ten different wrong passwords for ten minutes. Who comes to that end several times in a day is
banned, for every protocol. The same wrong password again and again is one guess, and an address from which somebody
logged in within a week is never banned: the guard's waits are enough for it.
"""

from __future__ import annotations

from collections.abc import Callable

from mailbox_app.config.schema import Config
from mailbox_app.policy.gate import Gate
from mailbox_app.policy.settings import narrow_network
from mailbox_app.policy.state.rates import DAY, Rates
from mailbox_app.proto.plain_text import clean

_WEEK = 7 * DAY
_GUESSES = 10
_NAME_CHARACTERS = 100


class LoginBans:
    """A `LoginWatch`; one per process."""

    def __init__(self, rates: Rates, gate: Gate, config: Callable[[], Config]) -> None:
        self._rates = rates
        self._gate = gate
        self._config = config

    def succeeded(self, remote_ip: str) -> None:
        """Somebody logged in from there."""
        if not self._gate.is_exempt(remote_ip):
            self._rates.count(f"login {narrow_network(remote_ip)}", _WEEK)

    def guessed_enough(self, remote_ip: str, name: str) -> None:
        """Ten different wrong passwords were tried from there, the last one for this name. Blocks."""
        limit = self._config().abuse.ban_password_rounds
        network = narrow_network(remote_ip)
        rounds = self._rates.count(f"guessed {network}", DAY)
        self._rates.count(f"login {network}", _WEEK, 0)
        self._rates.sync()  # what the other processes know decides, too
        rounds = max(rounds, self._rates.count(f"guessed {network}", DAY, 0))
        if not limit or rounds < limit or self._rates.count(f"login {network}", _WEEK, 0):
            return
        reason = f"{rounds * _GUESSES} different wrong passwords in a day, the last for {clean(name, _NAME_CHARACTERS)}"
        self._gate.ban(remote_ip, "login", reason)
