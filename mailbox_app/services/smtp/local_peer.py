"""Programs of this machine on the socket submit.sock: who they are is asked of the kernel, as whom they send of the configuration.

Root and the server's own user may send as any account here, by the envelope sender; everybody else as the one account that is
named for them. From there on a session is like one that logged in: the same checks, limits and signatures.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from mailbox_app.accounts.model import Account
from mailbox_app.proto.plain_text import clean
from mailbox_app.proto.smtp.replies import Refusal

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

KEYWORD = "XLOCAL"
"""In the answer to EHLO: the address that the session sends as."""
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """Who is at the other end."""

    uid: int
    user: str
    address: str
    """That it sends as."""

    @property
    def is_master(self) -> bool:
        """Root, or the server itself."""
        return self.uid in (0, os.geteuid())


async def welcome(session: SmtpSession) -> None:
    """Find out who is there; a `Refusal` when it may not send."""
    connection = session.channel_socket
    if connection is None:
        raise ConnectionResetError("the peer went away")
    uid = peer_uid(connection)
    user = await session.service.offload.run(_name_of, uid)
    address = _address_of(session, uid, user)
    if not address:
        text = f"Unix user {clean(user, 64)} may not send: name an account for it in local_submission.users"
        raise Refusal(550, "5.7.1", text, reason="local_user_unknown")
    session.local_peer = LocalPeer(uid, user, address)
    session.account = account_for(session, "")
    structlog.get_logger("smtp").info(
        "local_submission", session_id=session.session_id, uid=uid, user=clean(user, 64), account=address
    )


def account_for(session: SmtpSession, sender: str) -> Account:
    """The account that answers for a message with this envelope sender."""
    peer, directory = session.local_peer, session.service.directory
    assert peer is not None
    if sender and peer.is_master:
        found = directory.resolve(sender)
        if len(found.accounts) == 1 and not (found.outside or found.lists):
            return found.accounts[0]
    found = directory.resolve(peer.address)
    if len(found.accounts) != 1 or found.outside or found.lists:
        text = f"{peer.address}, which stands for Unix user {clean(peer.user, 64)}, is no account here"
        raise Refusal(550, "5.7.1", text, reason="local_user_unknown", address=sender)
    return found.accounts[0]


def peer_uid(connection: socket.socket) -> int:
    """The Unix user at the other end of a Unix socket, as it was when it connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(uid)


def _address_of(session: SmtpSession, uid: int, user: str) -> str:
    service = session.service
    if (address := service.config.local_submission.users.get(user)) is not None:
        return address
    if uid not in (0, os.geteuid()):
        return ""
    domains = [domain.name for domain in service.directory.domains() if not domain.alias_of]
    return f"postmaster@{domains[0]}" if domains else ""
