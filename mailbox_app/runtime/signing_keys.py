"""Builds what looks after signing keys; part of `wiring.py`."""

from __future__ import annotations

from datetime import timedelta

import structlog

from mailbox_app.config.load import seconds
from mailbox_app.config.schema import Config
from mailbox_app.journal.audit import Audit, Change
from mailbox_app.net.authority import ZoneServers
from mailbox_app.outbound.key_rotation import KeyRotation, Step
from mailbox_app.runtime.key_watch import KeyWatch
from mailbox_app.runtime.parts import Parts


def key_watch(parts: Parts, audit: Audit) -> KeyWatch:
    """The core's job for signing keys; each step of a rotation is in the audit."""
    log = structlog.get_logger("dkim")

    def tell(step: Step) -> None:
        log.info("key_moved", domain=step.domain, selector=step.selector, what=step.what)
        audit.append(
            Change("mailserver", 0, "dkim", f"dkim.{step.what}", object=f"{step.selector}._domainkey.{step.domain}.")
        )

    def rotate_after() -> timedelta:
        config: Config = parts.current.config
        return timedelta(seconds=seconds(config.dkim.rotate_after))

    servers = ZoneServers(parts.resolver, parts.config.dns.authority_port)
    rotation = KeyRotation(parts.directory, servers, parts.resolver, parts.offload, parts.clock, tell, rotate_after)
    return KeyWatch(rotation, parts.directory, parts.offload, parts.clock, parts.bus)
