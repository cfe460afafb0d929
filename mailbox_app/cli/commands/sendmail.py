"""`mailbox sendmail`: the way in for programs of this machine, by the name and the arguments they have always called."""

from __future__ import annotations

import os
import pwd
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import click

from mailbox_app.cli import connection, local_smtp, sendmail_message, sendmail_options
from mailbox_app.config.paths import SERVICE_CONFIG, resolve
from mailbox_app.errors import ConfigError, MailboxError
from mailbox_app.net import unix_socket
from mailbox_app.proto.plain_text import clean

_HELP = """Usage: mailbox sendmail [-t] [-i] [-f SENDER] [-F NAME] [-N NOTIFY] [-R RET] [-V ENVID] [RECIPIENT..]

Take a message from standard input and hand it to the running server, as the account that stands for
the Unix user (local_submission.users). -t: the recipients are those of To, Cc and Bcc. -i: a line with a dot
alone does not end the message. -bs speaks SMTP, -bp lists the queue. Exit: 0 taken, 64 wrong arguments,
65 refused message, 67 no such recipient, 75 try again later, 77 not permitted.
"""
_PIECE_BYTES = 65_536


@click.command(
    "sendmail",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(config_file: str | None, arguments: tuple[str, ...]) -> int:
    """Send a message from standard input; for cron, mail(1) and other programs of this machine."""
    return run(config_file, list(arguments))


def run(config_file: str | None, arguments: list[str], called: str = "sendmail") -> int:
    """The exit code, of sysexits."""
    if arguments == ["--help"]:
        click.echo(_HELP, nl=False)
        return 0
    try:
        options = sendmail_options.parse(arguments, called)
        if options.mode == "p":
            from mailbox_app.cli.main import main

            return main([*(["--config", config_file] if config_file else []), "queue", "list"])
        if options.mode == "i":
            return 0
        path = _socket_path(config_file)
        if options.mode == "s":
            return _speak(path)
        return _send(path, options)
    except local_smtp.NotSent as error:
        return _say(error.public_text, error.status)
    except MailboxError as error:
        return _say(error.public_text, local_smtp.EX_TEMPFAIL if error.temporary else local_smtp.EX_USAGE)


def _send(path: Path, options: sendmail_options.Options) -> int:
    if not options.recipients and not options.from_header:
        return _say("no recipients: name them, or say -t", local_smtp.EX_USAGE)
    client = local_smtp.LocalSmtp(path)
    try:
        content = _standard_input(client.size_limit, dot_ends=options.dot_ends)
        if content is None:
            return _say("the message is larger than the mail server takes; nothing was sent", local_smtp.EX_DATAERR)
        client.send(sendmail_message.prepare(content, options, _author(client.address)), options)
    finally:
        client.close()
    return 0


def _standard_input(limit_bytes: int, *, dot_ends: bool) -> bytes | None:
    """The message; None when it is too large."""
    pieces: list[bytes] = []
    size = 0
    if not dot_ends:
        while piece := sys.stdin.buffer.read(_PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                return None
        return b"".join(pieces)
    while line := sys.stdin.buffer.readline(_PIECE_BYTES):
        if line.rstrip(b"\r\n") == b"." and (not pieces or pieces[-1].endswith(b"\n")):
            break
        pieces.append(line)
        size += len(line)
        if size > limit_bytes:
            return None
    return b"".join(pieces)


def _author(address: str) -> sendmail_message.Author:
    try:
        entry = pwd.getpwuid(os.geteuid())
        user, full_name = entry.pw_name, entry.pw_gecos.partition(",")[0]
    except KeyError:
        user, full_name = str(os.geteuid()), ""
    name = socket.gethostname().lower()
    return sendmail_message.Author(user, address, full_name, {name, name.partition(".")[0]})


def _socket_path(config_file: str | None) -> Path:
    """Where the server listens. An ordinary user may not read the service's configuration: then where it is by default."""
    try:
        return connection.paths(config_file).submit_socket
    except (ConfigError, OSError):
        if config_file:
            raise
        return resolve(None, SERVICE_CONFIG).submit_socket


def _speak(path: Path) -> int:
    """-bs: SMTP between standard input and output and the server."""
    try:
        server = unix_socket.connect(path, timeout_seconds=None)
    except OSError:
        return _say(f"the mail server does not answer at {path}", local_smtp.EX_TEMPFAIL)
    with server:
        threading.Thread(target=_pass_on, args=(server,), daemon=True).start()
        out = sys.stdout.fileno()
        with suppress(BrokenPipeError, ConnectionResetError):
            while data := server.recv(_PIECE_BYTES):
                while data:
                    data = data[os.write(out, data) :]
    return 0


def _pass_on(server: socket.socket) -> None:
    with suppress(OSError):  # the server hung up
        while data := os.read(sys.stdin.fileno(), _PIECE_BYTES):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _say(text: str, status: int) -> int:
    click.echo(f"sendmail: {clean(text).rstrip('.')}.", err=True)
    return status
