"""IMAP for who is known already: `mailbox imap ADDRESS` over SSH, as mail programs' tunnels use it. RFC 9051 3.1.

The client of the Unix socket says an address in one line and is greeted with PREAUTH. The kernel tells who it is
(SO_PEERCRED): root and the server's own user, who can read the mail anyway, and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING

from mailbox_app.accounts.model import AccountState
from mailbox_app.services.imap.session import Session

if TYPE_CHECKING:
    from mailbox_app.services.imap.server import ImapService

_ADDRESS_BYTES = 400
"""RFC 5321 4.5.3.1: 64 octets, an @ and 255 octets; and a little more."""


class PreauthSession(Session):
    """A session that begins logged in."""

    __slots__ = ("_said", "_uid")

    def __init__(self, service: ImapService) -> None:
        super().__init__(service)
        self._uid = -1
        self._said: bytearray | None = bytearray()
        """What came of the first line; None behind it."""

    def greet(self) -> None:
        """Nothing yet: first the address."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Who is there."""
        super().connection_made(transport)
        if not self.closed:
            self._uid = _peer_uid(transport.get_extra_info("socket"))
            if self._uid not in {0, os.geteuid()}:
                self._refuse("You may not read other people's mail")

    def data_received(self, data: bytes) -> None:
        """The address, then commands."""
        if self._said is None:
            super().data_received(data)
            return
        self._said += data
        line, end, rest = bytes(self._said).partition(b"\n")
        if (not end and len(line) <= _ADDRESS_BYTES) or self.closed:
            return
        self._said = None
        self._enter(line.strip().decode("utf-8", "replace"))
        if rest and not self.closed:
            super().data_received(rest)

    def _enter(self, address: str) -> None:
        deps = self.service.deps
        account = deps.account_by_address(address)
        if account is None or account.state is not AccountState.ACTIVE:
            self._refuse("There is no such account, or it is disabled")
            return
        self.logged_in(account)
        deps.metrics.auth_attempts.labels(result="success", protocol="imap").inc()
        deps.log.info("preauth", session=self.session_id, account=account.address, uid=self._uid)
        self.write(f"* PREAUTH [CAPABILITY {self.service.capabilities(self)}] Logged in\r\n".encode("ascii"))
        self.flush()

    def _refuse(self, text: str) -> None:
        deps = self.service.deps
        deps.metrics.auth_attempts.labels(result="failure", protocol="imap").inc()
        deps.log.warning("preauth refused", session=self.session_id, uid=self._uid)
        self.say_goodbye(text)


def _peer_uid(connection: socket.socket) -> int:
    layout = struct.Struct("3i")
    _, uid, _ = layout.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return int(uid)
