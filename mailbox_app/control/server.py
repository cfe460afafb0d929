"""The control socket's listener: lets in root, the service's own user and the group `mailserver-admin`, and nobody else.

Who is there is asked of the kernel (SO_PEERCRED), so there is nothing to guess and nothing to steal. Also runs the hourly
housekeeping of what the control methods leave behind (the trash). One instance, in the core.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
from pathlib import Path

import structlog

from mailbox_app.control import trash
from mailbox_app.control.context import ControlContext
from mailbox_app.control.methods import METHODS
from mailbox_app.control.methods.status import schema_method
from mailbox_app.control.session import Session, by_name
from mailbox_app.control.topics import topics
from mailbox_app.control.wire import MAX_FRAME_BYTES, error_frame
from mailbox_app.errors import ControlError, MailboxError
from mailbox_app.net import unix_socket

ADMIN_GROUP = "mailserver-admin"
_MAX_CLIENTS = 64
_HOUSEKEEPING_SECONDS = 3600.0
_CLOSE_SECONDS = 2.0
"""Within the ten seconds the whole server has to stop."""


class ControlServer:
    """Listens on `socket_path` between `start` and `stop`."""

    def __init__(self, context: ControlContext, socket_path: Path) -> None:
        self._context = context
        self._path = socket_path
        self._methods = by_name([schema_method(METHODS), *METHODS])
        self._topics = topics(context, self.consoles)
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._server: asyncio.Server | None = None
        self._housekeeping: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("control")

    def consoles(self) -> int:
        """Connected consoles."""
        return sum(session.via == "console" for session in self._sessions.values())

    async def start(self) -> None:
        """Bind and take clients; OSError when the folder is not ours."""
        listener = unix_socket.listen(self._path, mode=0o660)
        _give_to_group(self._path)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=MAX_FRAME_BYTES)
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())

    async def stop(self) -> None:
        """Take no more clients, let running changes end for a few seconds, remove the socket."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        tasks = list(self._sessions)
        for session in self._sessions.values():
            session.hang_up()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = await self._admit(writer)
        except MailboxError as error:
            writer.write(error_frame(None, error))
            writer.close()
            return
        session = Session(self._context, self._methods, self._topics, reader, writer, peer)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a session runs in a task")
        self._sessions[task] = session
        try:
            await session.run()
        except ExceptionGroup:
            self._log.exception("control_session_failed")
            self._context.metrics.errors.inc()
        finally:
            del self._sessions[task]
            writer.close()

    async def _admit(self, writer: asyncio.StreamWriter) -> tuple[int, str]:
        uid, gid = _peer_ids(writer.get_extra_info("socket"))
        user, allowed = await self._context.offload.run(_who, uid, gid)  # the user database may be far away
        if not allowed:
            self._log.warning("control_refused", uid=uid, user=user)
            raise ControlError(
                "control.not_permitted",
                f"user {user} may not control this server",
                fields={"remedy": f"Use root, or add the user to the group {ADMIN_GROUP}."},
            )
        if len(self._sessions) >= _MAX_CLIENTS:
            raise ControlError("control.busy", "too many control connections", temporary=True)
        return uid, user

    async def _keep_house(self) -> None:
        while True:
            await self._context.clock.sleep(_HOUSEKEEPING_SECONDS)
            try:
                await self._context.offload.run(trash.empty, self._context)
            except (MailboxError, OSError):
                self._log.exception("housekeeping_failed")
                self._context.metrics.errors.inc()


def _peer_ids(connection: socket.socket) -> tuple[int, int]:
    layout = struct.Struct("3i")
    _, uid, gid = layout.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return uid, gid


def _who(uid: int, gid: int) -> tuple[str, bool]:
    """(user name, whether it may come in)."""
    try:
        entry = pwd.getpwuid(uid)
        user, groups = entry.pw_name, {gid, *os.getgrouplist(entry.pw_name, entry.pw_gid)}
    except KeyError:
        user, groups = str(uid), {gid}
    admins = _admin_gid()
    return user, uid in {0, os.geteuid()} or (admins is not None and admins in groups)


def _admin_gid() -> int | None:
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None


def _give_to_group(path: Path) -> None:
    """Members of the group must be able to connect; that works as root or as a member, else only we and root get in."""
    admins = _admin_gid()
    if admins is None:
        return
    try:
        os.chown(path, -1, admins)
    except PermissionError:
        structlog.get_logger("control").warning("control_group_not_set", group=ADMIN_GROUP)
