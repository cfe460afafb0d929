"""`mailbox imap`: an account's mail over standard input and output."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress

import click

from mailbox_app.cli import connection
from mailbox_app.errors import ControlError
from mailbox_app.net import unix_socket

_PIECE_BYTES = 65_536


@click.command("imap")
@click.argument("address")
@click.pass_obj
def command(config_file: str | None, address: str) -> None:
    """Speak IMAP with the running server, logged in already as ADDRESS.

    For mail programs that reach this machine by SSH: mutt's `tunnel`, mbsync's `Tunnel`. Works for root and the server's own
    user.
    """
    path = connection.paths(config_file).imap_socket
    try:
        server = unix_socket.connect(path, timeout_seconds=None)
    except PermissionError as error:
        raise ControlError(
            "control.not_permitted", "only root and the server's own user may read mail without a login"
        ) from error
    except OSError as error:
        raise ControlError("control.unreachable", f"no server answers at {path}; start it first") from error
    with server:
        server.sendall(address.encode("utf-8", "replace").partition(b"\n")[0] + b"\n")
        # A thread of its own: who waits for the server to take something must not keep its answers from going out.
        threading.Thread(target=_send, args=(server,), daemon=True).start()
        out = sys.stdout.fileno()
        with suppress(BrokenPipeError, ConnectionResetError):
            while data := server.recv(_PIECE_BYTES):
                while data:
                    data = data[os.write(out, data) :]


def _send(server: socket.socket) -> None:
    """Standard input, until it ends."""
    with suppress(OSError):  # the server hung up
        while data := os.read(sys.stdin.fileno(), _PIECE_BYTES):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
