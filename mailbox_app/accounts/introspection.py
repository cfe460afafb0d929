"""Asks the server that gave a bearer token out what it is worth. RFC 7662.

One POST with the token, in a thread, with a deadline, over verified TLS (or to this machine), the answer bounded. What was
found out is remembered for a minute under the token's digest, never longer than the token lives, so a mail program that opens
five connections asks once. Trouble on the way is a temporary error: a token is refused only when its server says so.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
import structlog

from mailbox_app.accounts.sasl import TokenOwner
from mailbox_app.clock import Clock
from mailbox_app.config.schema import OAuth
from mailbox_app.db.offload import Offload
from mailbox_app.errors import AccountError, ConfigError

_SECONDS = 5.0
"""For each wait on the network..."""
_WHOLE_SECONDS = 8.0
"""... and for all of it: a mail program waits longer than this."""
_MAX_ANSWER_BYTES = 65_536
_REMEMBERED_SECONDS = 60.0
_MAX_REMEMBERED = 10_000
_AT_ONCE = 2
"""Threads that may wait for the other server, of those all storage calls share."""
_MAX_WAITING = 64
_MAX_SECRET_BYTES = 4_096


class _Answer(msgspec.Struct):
    """What is read of RFC 7662 2.2."""

    active: bool
    username: str = ""
    email: str = ""
    email_verified: object = None
    """Not of RFC 7662, but told by many: an address that its user only wrote down is nobody's login."""
    sub: str = ""
    scope: str = ""
    exp: float | None = None
    nbf: float | None = None


class Introspection:
    """An `accounts.sasl.TokenVerifier`; lives on the loop."""

    def __init__(self, settings: OAuth, offload: Offload, clock: Clock) -> None:
        """`ConfigError` when a file cannot be read."""
        self.scope = settings.scope
        self.configuration_url = settings.configuration_url
        self._url = urlsplit(settings.introspection_url)
        self._offload = offload
        self._clock = clock
        self._headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Connection": "close",
        }
        if settings.client_id:  # RFC 6749 2.3.1
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(_secret(settings.client_secret_file))}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._tls = _context(settings.ca_file) if self._url.scheme == "https" else None
        self._known: OrderedDict[bytes, tuple[float, TokenOwner | None]] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._log = structlog.get_logger("auth")

    async def verify(self, token: str) -> TokenOwner | None:
        """Whose it is; None when it is not valid or not for mail; `account.busy`, `account.no_answer` are temporary."""
        digest = hashlib.sha256(token.encode("ascii")).digest()
        now = self._clock.monotonic_seconds()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        answer = await self._ask(token)
        seconds = self._clock.epoch_seconds()
        owner, lives = self._judge(answer, seconds)
        self._known[digest] = (self._clock.monotonic_seconds() + min(lives, _REMEMBERED_SECONDS), owner)
        self._known.move_to_end(digest)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return owner

    def _judge(self, answer: _Answer, now: float) -> tuple[TokenOwner | None, float]:
        """Whose the token is, and for how many seconds this may be believed."""
        if not answer.active or (answer.exp is not None and answer.exp <= now):
            return None, _REMEMBERED_SECONDS
        if answer.nbf is not None and answer.nbf > now:
            return None, answer.nbf - now
        if self.scope and self.scope not in answer.scope.split():
            return None, _REMEMBERED_SECONDS
        email = "" if answer.email_verified in (False, "false") else answer.email
        addresses: Sequence[str] = [each for each in (answer.username, email, answer.sub) if "@" in each]
        return TokenOwner(
            tuple(dict.fromkeys(addresses))
        ), _REMEMBERED_SECONDS if answer.exp is None else answer.exp - now

    async def _ask(self, token: str) -> _Answer:
        if self._waiting >= _MAX_WAITING:
            raise AccountError("account.busy", "too many logins at once; try again", temporary=True)
        self._waiting += 1
        try:
            async with asyncio.timeout(_WHOLE_SECONDS), self._slots:
                body = await self._offload.run(self._post, token)
            return msgspec.json.decode(body, type=_Answer)
        except (OSError, http.client.HTTPException, TimeoutError, msgspec.MsgspecError, UnicodeError) as error:
            self._log.warning("token_not_checked", error=str(error)[:200])
            raise AccountError("account.no_answer", "tokens cannot be checked now", temporary=True) from error
        finally:
            self._waiting -= 1

    def _post(self, token: str) -> bytes:
        """In a thread. RFC 7662 2.1."""
        host, port = self._url.hostname or "", self._url.port
        connection: http.client.HTTPConnection
        if self._tls is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
        watch: threading.Timer | None = None
        try:
            connection.connect()
            # each wait has its own deadline; a server that sends a byte now and then would hold the thread for ever
            watch = threading.Timer(_WHOLE_SECONDS, _hang_up, (connection.sock,))
            watch.daemon = True
            watch.start()
            target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
            form = urlencode({"token": token, "token_type_hint": "access_token"})
            connection.request("POST", target, form, self._headers)
            response = connection.getresponse()
            body = response.read(_MAX_ANSWER_BYTES + 1)
            if response.status != http.client.OK or len(body) > _MAX_ANSWER_BYTES:
                raise http.client.HTTPException(f"status {response.status}, {len(body)} bytes")
            return body
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError("oauth.unusable", f"oauth.ca_file {ca_file} is not usable") from error
    return context


def _secret(path: str) -> str:
    if not path:
        return ""
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_SECRET_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError("oauth.unusable", f"oauth.client_secret_file {path} cannot be read") from error
