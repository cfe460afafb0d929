"""Our login at a smarthost: AUTH over TLS, never in clear. RFC 4954.

A refused login is the route's trouble and not the recipient's: the mail waits, and the sentence says which route and user. The
password is read from its file for each login, so a changed one holds at once; the file must be for its owner alone. No
password, challenge or answer gets into a text, a log or an attempt.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat

from mailbox_app.db.offload import Offload
from mailbox_app.errors import ProtocolError
from mailbox_app.outbound.replies import Reply
from mailbox_app.outbound.routes.choosing import Login, Route
from mailbox_app.outbound.routes.states import RouteStates
from mailbox_app.outbound.smtp_client import HostTrouble, SmtpConnection
from mailbox_app.proto.sasl.client import Exchange, begin, choose

_LONGEST_PASSWORD_BYTES = 4096
_LONGEST_COMMAND_BYTES = 512
"""RFC 4954 4: an initial response that makes the command longer comes after an empty challenge."""
_MOST_STEPS = 4
_ANOTHER_MECHANISM = frozenset({432, 500, 501, 502, 503, 504, 534, 538})
"""The mechanism is of no use here; another one may be. 535 is a wrong password whatever the mechanism."""


async def log_in(connection: SmtpConnection, route: Route, offload: Offload, states: RouteStates) -> None:
    """Log in as the route wants; the connection notes how. `HostTrouble`, always temporary, when it does not come about."""
    login = route.login
    assert login is not None
    if not connection.tls:
        text = (
            f"{connection.host} offers no encryption, and the password of the route {route.name} is never sent in clear"
        )
        raise HostTrouble(451, "4.7.10", text)
    password = await offload.run(_password, login, route.name)
    offered = connection.extensions.get("AUTH", "").split()
    channel = connection.channel
    tried: set[str] = set()
    reply: Reply | None = None
    while (mechanism := choose(offered, channel.binding_types, tried)) is not None:
        tried.add(mechanism)
        kind = channel.binding_types[0] if mechanism.endswith("-PLUS") else ""
        binding = (channel.binding(kind) or b"") if kind else b""
        if kind and not binding:
            continue
        exchange = begin(mechanism, login.user, password, binding_type=kind, binding=binding)
        reply = await _exchange(connection, mechanism, exchange, offload)
        if reply.code == 235:
            connection.login = mechanism
            states.login_taken(route.name)
            return
        if reply.code not in _ANOTHER_MECHANISM:
            break
    if reply is None:
        known = ", ".join(name for name in offered if name.isprintable())[:100] or "no login at all"
        text = f"{connection.host} offers no way to log in that we know ({known})"
        raise HostTrouble(451, "4.7.4", text)
    states.login_refused(route.name)
    answer = reply.text if not _tells(reply.text, login.user, password) else "(an answer that repeats the login)"
    text = f"{connection.host} does not take the login of the route {route.name} (user {login.user}): {reply.code} {answer}"
    raise HostTrouble(454, "4.7.8", text)


async def _exchange(connection: SmtpConnection, mechanism: str, exchange: Exchange, offload: Offload) -> Reply:
    """One mechanism from the command to the answer that ends it."""
    line = b"AUTH " + mechanism.encode("ascii")
    initial = exchange.initial
    if initial is not None and len(with_it := line + b" " + _encoded(initial)) <= _LONGEST_COMMAND_BYTES:
        line, initial = with_it, None
    reply = await connection.command(line)
    try:
        for _ in range(_MOST_STEPS):
            if reply.code != 334:
                break
            if initial is not None:
                answer, initial = initial, None
            else:
                answer = await offload.run(exchange.step, _challenge(reply))
            reply = await connection.command(base64.b64encode(answer))
        if reply.code == 235:
            exchange.finish()
    except ProtocolError as error:
        text = f"the login at {connection.host} by {mechanism} broke off: {error.public_text}"
        raise HostTrouble(451, "4.7.8", text) from error
    if reply.code == 334:
        raise HostTrouble(451, "4.7.8", f"the login at {connection.host} by {mechanism} is asked for more without end")
    return reply


def _tells(text: str, user: str, password: str) -> bool:
    """Whether a server's answer repeats what we said to it."""
    secrets = (password.encode(), f"\0{user}\0{password}".encode())
    return password in text or any(base64.b64encode(secret).decode().rstrip("=") in text for secret in secrets)


def _challenge(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.lines[-1].strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("sasl.malformed", "the challenge is not base64") from error


def _encoded(initial: bytes) -> bytes:
    return base64.b64encode(initial) or b"="


def _password(login: Login, route: str) -> str:
    """The first line of the file."""
    where = f"the password file of the route {route}"
    try:
        with open(login.password_file, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LONGEST_PASSWORD_BYTES + 1)
    except OSError as error:
        raise HostTrouble(451, "4.3.5", f"{where} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise HostTrouble(451, "4.3.5", f"{where} can be read by others than its owner: chmod 600 it")
    try:
        password = text.partition(b"\n")[0].rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise HostTrouble(451, "4.3.5", f"{where} is not UTF-8 text") from error
    if not password or len(text) > _LONGEST_PASSWORD_BYTES or "\0" in password:
        raise HostTrouble(451, "4.3.5", f"{where} holds no password in its first line")
    return password
