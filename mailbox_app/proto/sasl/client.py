"""The client's side of a login at another server: SCRAM with and without channel binding, PLAIN, LOGIN. Pure.

`choose` takes the best of what the server offers; `Exchange.step` turns each challenge into the answer. Only SCRAM proves that
the server knows the password too: its last word is checked, and a wrong one is a `ProtocolError`, as is a challenge that
breaks the grammar or asks for more work than is sane. RFC 4422, RFC 4616, RFC 5802, RFC 7677.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from typing import Protocol

from mailbox_app.proto.sasl.mechanism import malformed

MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "LOGIN")
"""The best first."""
_HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<iterations>[1-9][0-9]{0,7})(?:,[A-Za-z]=[^,\0]+)*"
)
_SERVER_FINAL = re.compile(rb"v=(?P<verifier>[A-Za-z0-9+/=]+)(?:,.*)?", re.DOTALL)
_MOST_ITERATIONS = 1_000_000
"""Half a second of work; servers use 4,096 to 600,000."""
_LONGEST_NONCE = 1024
_NONCE_BYTES = 18


class Exchange(Protocol):
    """One login under way."""

    @property
    def initial(self) -> bytes | None:
        """What is said with the command itself; None: the server begins."""
        ...

    def step(self, challenge: bytes) -> bytes:
        """The answer to a challenge. May take half a second of computing."""
        ...

    def finish(self) -> None:
        """The server let us in: `ProtocolError` when it has not proved what it should have."""
        ...


def choose(offered: Collection[str], bindings: Sequence[str], tried: Collection[str] = ()) -> str | None:
    """The best mechanism both sides know; the PLUS forms only where there is a channel binding."""
    known = {name.upper() for name in offered}
    for name in MECHANISMS:
        if name in known and name not in tried and (bindings or not name.endswith("-PLUS")):
            return name
    return None


class Plain:
    """RFC 4616."""

    def __init__(self, user: str, password: str) -> None:
        self.initial: bytes | None = b"\0" + user.encode() + b"\0" + password.encode()

    def step(self, challenge: bytes) -> bytes:
        """There is none; some servers ask with an empty one for what they got already."""
        if challenge or self.initial is None:
            raise malformed("PLAIN has no challenges")
        answer, self.initial = self.initial, None
        return answer

    def finish(self) -> None:
        """PLAIN proves nothing about the server."""


class Login:
    """The old LOGIN: two questions, whatever they are called."""

    initial: bytes | None = None

    def __init__(self, user: str, password: str) -> None:
        self._answers = [user.encode(), password.encode()]

    def step(self, challenge: bytes) -> bytes:
        """The name, then the password."""
        if not self._answers:
            raise malformed("LOGIN has two questions")
        return self._answers.pop(0)

    def finish(self) -> None:
        """LOGIN proves nothing about the server."""


class ScramClient:
    """RFC 5802. `binding_type` and `binding` for the PLUS form."""

    def __init__(
        self,
        hash_name: str,
        user: str,
        password: str,
        *,
        binding_type: str = "",
        binding: bytes = b"",
        nonce: bytes = b"",
    ) -> None:
        self._hash_name = hash_name
        self._password = password.encode()
        self._gs2 = b"p=%b,," % binding_type.encode() if binding_type else b"n,,"
        self._binding = binding
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(_NONCE_BYTES))
        name = user.encode().replace(b"=", b"=3D").replace(b",", b"=2C")
        self._first_bare = b"n=" + name + b",r=" + self._nonce
        self._expected = b""
        self._steps = 0
        self._is_proved = False

    @property
    def initial(self) -> bytes | None:
        """The first message."""
        return self._gs2 + self._first_bare

    def step(self, challenge: bytes) -> bytes:
        """The proof, then nothing more when the server has given its own."""
        self._steps += 1
        if self._steps == 1:
            return self._proof(challenge)
        if self._steps == 2:
            found = _SERVER_FINAL.fullmatch(challenge)
            if found is None or not hmac.compare_digest(_decoded(found["verifier"]), self._expected):
                raise malformed("the server did not prove that it knows the password")
            self._is_proved = True
            return b""
        raise malformed("SCRAM has two challenges")

    def finish(self) -> None:
        """The server must have proved itself."""
        if not self._is_proved:
            raise malformed("the server did not prove that it knows the password")

    def _proof(self, challenge: bytes) -> bytes:
        found = _SERVER_FIRST.fullmatch(challenge)
        if found is None:
            raise malformed("the server's SCRAM challenge is none")
        nonce, iterations = found["nonce"], int(found["iterations"])
        if not nonce.startswith(self._nonce) or nonce == self._nonce or len(nonce) > _LONGEST_NONCE:
            raise malformed("the server's SCRAM challenge belongs to another login")
        if iterations > _MOST_ITERATIONS:
            raise malformed("the server asks for too much work")
        salted = hashlib.pbkdf2_hmac(self._hash_name, self._password, _decoded(found["salt"]), iterations)
        client_key = hmac.digest(salted, b"Client Key", self._hash_name)
        stored_key = hashlib.new(self._hash_name, client_key).digest()
        without = b"c=" + base64.b64encode(self._gs2 + self._binding) + b",r=" + nonce
        message = b",".join((self._first_bare, challenge, without))
        signature = hmac.digest(stored_key, message, self._hash_name)
        self._expected = hmac.digest(hmac.digest(salted, b"Server Key", self._hash_name), message, self._hash_name)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return without + b",p=" + base64.b64encode(proof)


def begin(mechanism: str, user: str, password: str, *, binding_type: str = "", binding: bytes = b"") -> Exchange:
    """A login by one of `MECHANISMS`."""
    if mechanism == "PLAIN":
        return Plain(user, password)
    if mechanism == "LOGIN":
        return Login(user, password)
    hash_name = _HASHES[mechanism.removesuffix("-PLUS")]
    if mechanism.endswith("-PLUS"):
        return ScramClient(hash_name, user, password, binding_type=binding_type, binding=binding)
    return ScramClient(hash_name, user, password)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise malformed("base64 expected") from error
