"""SCRAM: the password never travels, and with channel binding nobody can stand in the middle. RFC 5802, RFC 7677.

The exchange: `n,a=id,n=name,r=nonce` -> `r=,s=,i=` -> `c=,r=,p=` -> `v=`. Keys are asked for by name while the exchange runs;
whoever gives them gives made-up ones for an unknown name, so that the exchange is the same for all.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable

from mailbox_app.proto.sasl.mechanism import Challenge, Channel, ProofClaim, malformed, text_of
from mailbox_app.proto.sasl.scram_keys import ScramKeys, is_proof, server_signature

KeySource = Callable[[str, str], ScramKeys]
"""(name, hash name) -> keys, made up for an unknown name."""

# RFC 5802 7. A saslname escapes "=" and "," and holds no NUL; printable is %x21-2B / %x2D-7E.
# An empty identity breaks the grammar, but the GNU library sends it.
_SASLNAME = rb"(?:[^,=\0]|=2C|=3D)+"
_CLIENT_FIRST = re.compile(
    rb"(?P<gs2>(?:n|y|p=(?P<binding>[A-Za-z0-9.-]{1,64})),(?:a=(?P<identity>" + _SASLNAME + rb")?)?,)"
    rb"(?P<bare>(?P<reserved>m=[^,\0]*,)?n=(?P<name>" + _SASLNAME + rb"),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)"
    rb"(?:,[A-Za-z]=[^,\0]+)*)"
)
_CLIENT_FINAL = re.compile(
    rb"(?P<without>c=(?P<binding>[A-Za-z0-9+/=]*),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-oq-z]=[^,\0]+)*)"
    rb",p=(?P<proof>[A-Za-z0-9+/=]+)"
)
_MAX_NONCE_BYTES = 512
_NONCE_BYTES = 18


class Scram:
    """One exchange."""

    prompt = b""

    def __init__(
        self,
        hash_name: str,
        keys: KeySource,
        channel: Channel,
        *,
        plus: bool,
        plus_is_offered: bool,
        nonce: bytes = b"",
    ) -> None:
        """`plus`: the -PLUS form was chosen; `plus_is_offered`: it could have been. `nonce`: the server's part."""
        self._hash_name = hash_name
        self._keys_of = keys
        self._channel = channel
        self._plus = plus
        self._plus_is_offered = plus_is_offered
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(_NONCE_BYTES))
        self._keys: ScramKeys | None = None
        self._name = self._identity = ""
        self._first_bare = self._server_first = self._expected_binding = b""

    @property
    def keys(self) -> ScramKeys:
        """What the proof was checked against; there from the first message on."""
        assert self._keys is not None
        return self._keys

    def step(self, response: bytes) -> Challenge | ProofClaim:
        """The client's first message, then its final one."""
        if self._keys is None:
            return self._first(response)
        return self._final(response, self._keys)

    def _first(self, message: bytes) -> Challenge:
        match = _CLIENT_FIRST.fullmatch(message)
        if match is None:
            raise malformed("this is no first message of SCRAM")
        if match["reserved"]:  # RFC 5802 5.1: an extension the server does not know must end the exchange
            raise malformed("SCRAM extensions are not supported")
        if len(match["nonce"]) > _MAX_NONCE_BYTES:
            raise malformed("the nonce is too long")
        self._expected_binding = match["gs2"] + self._binding(match["gs2"][:1], match["binding"])
        self._name = _unescaped(match["name"])
        self._identity = _unescaped(match["identity"] or b"")
        self._first_bare = match["bare"]
        self._nonce = match["nonce"] + self._nonce
        keys = self._keys = self._keys_of(self._name, self._hash_name)
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, base64.b64encode(keys.salt), keys.iterations)
        return Challenge(self._server_first)

    def _binding(self, flag: bytes, kind: bytes | None) -> bytes:
        """The data the client must repeat. RFC 5802 6: what the client says about channel binding must fit."""
        if flag == b"p":
            if not self._plus:
                raise malformed("channel binding needs the PLUS form")
            data = None if kind is None else self._channel.binding(kind.decode("ascii"))
            if data is None:
                raise malformed("this type of channel binding is not supported")
            return data
        if self._plus:
            raise malformed("the PLUS form needs channel binding")
        if flag == b"y" and self._plus_is_offered:  # somebody took the PLUS forms out of our list
            raise malformed("the server does support channel binding")
        return b""

    def _final(self, message: bytes, keys: ScramKeys) -> ProofClaim:
        match = _CLIENT_FINAL.fullmatch(message)
        if match is None:
            raise malformed("this is no final message of SCRAM")
        proof, binding = _decoded(match["proof"]), _decoded(match["binding"])
        auth_message = b",".join((self._first_bare, self._server_first, match["without"]))
        # all three are looked at whatever the others say
        same_nonce = secrets.compare_digest(match["nonce"], self._nonce)
        same_binding = secrets.compare_digest(binding, self._expected_binding)
        right = is_proof(keys, auth_message, proof)
        final = b"v=" + base64.b64encode(server_signature(keys, auth_message))
        return ProofClaim(self._name, same_nonce and same_binding and right, final, self._identity)


def _unescaped(name: bytes) -> str:
    """RFC 5802 5.1: =2C is a comma, =3D an equals sign."""
    return text_of(name.replace(b"=2C", b",").replace(b"=3D", b"="))


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise malformed("base64 expected") from error
