"""USER and PASS, and the way into the maildrop that AUTH shares. RFC 1939 7, RFC 2449 8, RFC 3206."""

from __future__ import annotations

import random
from typing import NoReturn

from mailbox_app.accounts.model import Account
from mailbox_app.errors import MailboxError
from mailbox_app.ids import AccountRef
from mailbox_app.net.service import Goodbye
from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.maildrop import Maildrop
from mailbox_app.services.pop3.replies import BadCommand, Refusal
from mailbox_app.services.pop3.session import Session
from mailbox_app.store.interface import Store

MAX_FAILURES = 4
FAILURE_SECONDS = 1.0
"""A wrong password costs this and up to as much again: guessing is slow, and its timing says nothing."""
_LOCK_TRIES = 4
_LOCK_SECONDS = 0.5
"""A client that comes back at once may meet the session that it left without QUIT."""


def refuse_in_clear(session: Session) -> None:
    """No credentials without TLS. RFC 2595 2.3."""
    if not session.may_log_in:
        raise Refusal("STLS first")


async def user(session: Session, argument: bytes) -> str:
    """A name; whether there is such an account is not told."""
    refuse_in_clear(session)
    session.user_name = argument.strip()
    return "Password, please"


async def password(session: Session, argument: bytes) -> str:
    """The password is everything behind the space. RFC 1939 7."""
    refuse_in_clear(session)
    if not session.user_name:
        raise BadCommand("USER first")
    name, session.user_name = session.user_name, b""
    return await check_password(session, name, argument)


async def check_password(session: Session, name: bytes, given: bytes) -> str:
    """Log the session in or refuse."""
    deps = session.service.deps
    account = None
    try:
        account = await deps.authenticator.login(
            name.decode("utf-8"), given.decode("utf-8"), protocol="pop3", remote_ip=session.remote_ip
        )
    except UnicodeDecodeError:
        deps.log.debug("credentials are not UTF-8", session=session.session_id)
    if account is None:
        await refuse_login(session)
    return await enter(session, account)


async def refuse_login(session: Session) -> NoReturn:
    """After a while."""
    session.login_failures += 1
    await session.clock.sleep(FAILURE_SECONDS * (1 + random.random()))
    if session.login_failures >= MAX_FAILURES:
        raise Goodbye("[AUTH] Too many failed logins")
    raise Refusal("Wrong name or password", "AUTH")


async def enter(session: Session, account: Account) -> str:
    """Lock the maildrop and learn what is in it. RFC 1939 4."""
    service = session.service
    try:
        for attempt in range(_LOCK_TRIES):
            if attempt:
                await session.clock.sleep(_LOCK_SECONDS)
            drop = await service.deps.offload.run_for(account.account_id, _open, service.deps.store, account.ref)
            if drop is not None:
                session.entered(account, drop)
                return f"{drop.total_count} messages"
    except MailboxError as error:
        session.warn("maildrop not opened", error)
        raise Refusal("Mailbox cannot be opened now", "SYS/TEMP") from error
    raise Refusal("Another session has this mailbox open", "IN-USE")


def _open(store: Store, ref: AccountRef) -> Maildrop | None:
    lock = store.lock_maildrop(ref)
    if lock is None:
        return None
    try:
        account = store.account(ref)
        mailbox_id = account.mailbox("INBOX").mailbox_id
        return Maildrop(mailbox_id, account.sizes(mailbox_id), lock)
    except BaseException:
        lock.release()
        raise


USER = Command("USER", State.AUTHORIZATION, Takes.SOMETHING, "RFC 1939 7", user)
PASS = Command("PASS", State.AUTHORIZATION, Takes.SOMETHING, "RFC 1939 7", password)
