"""LOGIN, and the check of a password that AUTHENTICATE shares. RFC 9051 6.2.3."""

from __future__ import annotations

import random

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Goodbye, Refusal
from mailbox_app.services.imap.session import Session

MAX_FAILURES = 4
FAILURE_SECONDS = 1.0
"""A wrong password costs this and up to as much again: guessing is slow, and its timing says nothing."""


def parse_login(cursor: Cursor) -> tuple[bytes, bytes]:
    """Name and password, of any bytes but NUL."""
    cursor.space()
    name = cursor.astring()
    cursor.space()
    return name, cursor.astring()


def refuse_in_clear(session: Session) -> None:
    """No credentials without TLS. RFC 9051 11.1."""
    if not session.is_tls and session.service.config.tls.require_tls:
        raise Refusal("TLS first", "PRIVACYREQUIRED")


async def check_password(session: Session, name: bytes, password: bytes) -> str:
    """Log the session in or refuse; the OK text tells what works now."""
    deps = session.service.deps
    account = None
    try:
        account = await deps.authenticator.login(
            name.decode("utf-8"), password.decode("utf-8"), protocol="imap", remote_ip=session.remote_ip
        )
    except UnicodeDecodeError:
        deps.log.debug("credentials are not UTF-8", session=session.session_id)
    if account is None:
        session.login_failures += 1
        await deps.clock.sleep(FAILURE_SECONDS * (1 + random.random()))
        if session.login_failures >= MAX_FAILURES:
            raise Goodbye("Too many failed logins")
        raise Refusal("Wrong name or password", "AUTHENTICATIONFAILED")
    session.logged_in(account)
    return f"[CAPABILITY {session.service.capabilities(session)}] Logged in"


async def login(session: Session, request: Request, arguments: tuple[bytes, bytes]) -> str:
    """Name and password in the command."""
    refuse_in_clear(session)
    return await check_password(session, *arguments)


LOGIN = Command("LOGIN", State.NOT_AUTHENTICATED, Does.NOTHING, "", "RFC 9051 6.2.3", login, parse_login)
