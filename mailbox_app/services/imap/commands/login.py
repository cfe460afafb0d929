"""LOGIN, and what follows a login or a refusal, which AUTHENTICATE shares. RFC 9051 6.2.3."""

from __future__ import annotations

import random
from typing import NoReturn

from mailbox_app.accounts.model import Account
from mailbox_app.net.service import Goodbye
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.proto.sasl.mechanism import text_of
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
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


def welcome(session: Session, account: Account) -> str:
    """The session acts for the account; the text tells what works now."""
    session.logged_in(account)
    return f"[CAPABILITY {session.service.capabilities(session)}] Logged in"


async def refuse(
    session: Session, text: str = "Wrong name or password", code: str = "AUTHENTICATIONFAILED"
) -> NoReturn:
    """After a while; the last time with BYE."""
    session.login_failures += 1
    await session.clock.sleep(FAILURE_SECONDS * (1 + random.random()))
    if session.login_failures >= MAX_FAILURES:
        raise Goodbye("Too many failed logins")
    raise Refusal(text, code)


async def login(session: Session, request: Request, arguments: tuple[bytes, bytes]) -> str:
    """Name and password in the command."""
    refuse_in_clear(session)
    name, password = arguments
    account = await session.service.deps.authenticator.login(
        text_of(name), text_of(password), protocol="imap", remote_ip=session.remote_ip
    )
    if account is None:
        await refuse(session)
    return welcome(session, account)


LOGIN = Command("LOGIN", State.NOT_AUTHENTICATED, Does.NOTHING, "", "RFC 9051 6.2.3", login, parse_login)
