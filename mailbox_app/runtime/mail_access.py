"""Builds the services by which people reach their mail; part of `wiring.py`, which has the parts they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mailbox_app.accounts.login import PasswordAuthenticator
from mailbox_app.accounts.sasl import Sasl
from mailbox_app.services.imap.dependencies import ImapDependencies
from mailbox_app.services.imap.server import ImapService
from mailbox_app.services.managesieve.dependencies import ManageSieveDependencies
from mailbox_app.services.managesieve.server import ManageSieveService
from mailbox_app.services.pop3.dependencies import Pop3Dependencies
from mailbox_app.services.pop3.server import Pop3Service
from mailbox_app.store.search.index import SearchIndex

if TYPE_CHECKING:
    from mailbox_app.runtime.parts import Parts

_MANAGESIEVE_PORT = 4190


def imap_service(
    parts: Parts, authenticator: PasswordAuthenticator, sasl: Sasl, *, managesieve_port: int = 0
) -> ImapService:
    """IMAP's sessions. `managesieve_port`: where their scripts are managed; 0: nowhere."""
    service = ImapService(
        ImapDependencies(
            store=parts.store,
            authenticator=authenticator,
            sasl=sasl,
            account_by_id=parts.directory.account_by_id,
            account_by_address=parts.directory.account,
            tls=parts.tls,
            offload=parts.offload,
            bus=parts.bus,
            clock=parts.clock,
            config=parts.config,
            metrics=parts.metrics,
            log=structlog.get_logger("imap"),
            search_index=SearchIndex(parts.data_dir),
            events=parts.mailbox_scripts,
            sieve_url=_sieve_url(parts.config.server.hostname, managesieve_port),
            temporary_dir=str(parts.data_dir / "tmp"),
        )
    )
    service.admission = parts.gate
    return service


def pop3_service(parts: Parts, authenticator: PasswordAuthenticator, sasl: Sasl) -> Pop3Service:
    """POP3's sessions."""
    service = Pop3Service(
        Pop3Dependencies(
            store=parts.store,
            authenticator=authenticator,
            sasl=sasl,
            account_by_id=parts.directory.account_by_id,
            tls=parts.tls,
            offload=parts.offload,
            bus=parts.bus,
            clock=parts.clock,
            config=parts.config,
            metrics=parts.metrics,
            log=structlog.get_logger("pop3"),
        )
    )
    service.admission = parts.gate
    return service


def managesieve_service(parts: Parts, sasl: Sasl) -> ManageSieveService:
    """ManageSieve's sessions."""
    service = ManageSieveService(
        ManageSieveDependencies(
            scripts=parts.filters.scripts,
            sasl=sasl,
            account_by_id=parts.directory.account_by_id,
            tls=parts.tls,
            offload=parts.offload,
            bus=parts.bus,
            clock=parts.clock,
            config=parts.config,
            metrics=parts.metrics,
            log=structlog.get_logger("managesieve"),
        )
    )
    service.admission = parts.gate
    return service


def _sieve_url(hostname: str, port: int) -> str:
    """RFC 5804 3."""
    if not port:
        return ""
    return f"sieve://{hostname}" if port == _MANAGESIEVE_PORT else f"sieve://{hostname}:{port}"
