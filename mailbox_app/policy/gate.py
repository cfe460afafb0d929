"""Who may come in at all: one look-up when a client connects, the same for every protocol, and the making of bans.

Trusted and allowed clients always come in. A ban the server makes itself is never for an address of a private network, where
a proxy or a whole office may stand behind it; an administrator may ban what he likes.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from mailbox_app.clock import Clock
from mailbox_app.config.schema import Config
from mailbox_app.errors import StoreError
from mailbox_app.mailauth.checks import is_private
from mailbox_app.policy.settings import Settings, narrow_network
from mailbox_app.policy.state.bans import Ban, Bans, BanSource, canonical_network


class Gate:
    """One per process."""

    def __init__(self, bans: Bans, config: Callable[[], Config], clock: Clock) -> None:
        self._bans = bans
        self._current = config
        self._clock = clock
        self._config: Config | None = None
        self._settings = Settings(config().policy, config().proxy.trusted_networks)
        self._log = structlog.get_logger("policy")

    @property
    def settings(self) -> Settings:
        """Of the configuration that holds now."""
        config = self._current()
        if config is not self._config:
            self._settings = Settings(config.policy, config.proxy.trusted_networks)
            self._config = config
        return self._settings

    def is_exempt(self, remote_ip: str) -> bool:
        """Whether nothing here may ever hold this client up."""
        return self.settings.is_exempt(remote_ip)

    def ban_of(self, remote_ip: str) -> Ban | None:
        """The ban that keeps this client out. A look into memory."""
        ban = self._bans.find(remote_ip)
        return None if ban is None or self.is_exempt(remote_ip) else ban

    def admits(self, remote_ip: str, protocol: str) -> bool:
        """`net.limits.Admission`: whether a session may begin; a refusal is logged."""
        ban = self.ban_of(remote_ip)
        if ban is None:
            return True
        self._log.info("banned_client", remote=remote_ip, protocol=protocol, network=ban.network, reason=ban.reason)
        return False

    def ban(self, remote_ip: str, source: BanSource, reason: str) -> bool:
        """Keep a client out for the configured time; False when it is one that must not be. Blocks; never raises."""
        if self.is_exempt(remote_ip) or is_private(remote_ip):
            self._log.warning("not_banned", remote=remote_ip, reason=reason)
            return False
        now = self._clock.epoch_seconds()
        ban = Ban(
            canonical_network(narrow_network(remote_ip)),
            source,
            reason,
            now,
            now + self._current().abuse.ban_minutes * 60,
        )
        try:
            self._bans.add(ban)
        except StoreError as error:
            self._log.warning("ban_not_stored", remote=remote_ip, code=error.code)
        self._log.warning("banned", remote=remote_ip, network=ban.network, source=source, reason=reason)
        return True
