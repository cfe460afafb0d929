"""OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner, which many mail programs still speak.

A refused token is answered by an error object as a challenge; the client acknowledges it and only then hears the refusal
(RFC 7628 3.2.2), so `refusal_challenge` gives that object and the driver waits for one more message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from mailbox_app.proto.sasl.mechanism import TokenClaim, malformed, text_of

# RFC 6750 2.1: b64token
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*) *")
_PAIR = re.compile(rb"([A-Za-z]+)=([\x21-\x7e \t\r\n\x80-\xff]*)")
_GS2 = re.compile(rb"([nyp])(=[A-Za-z0-9.-]+)?,(?:a=([^,\0\x01]*))?,", re.DOTALL)
_MAX_PAIRS = 16


class OAuthBearer:
    """One message with a GS2 header and key=value pairs between SOH characters. RFC 7628 3.1."""

    prompt = b""

    def step(self, response: bytes) -> TokenClaim:
        """The token and whose it is said to be."""
        header = _GS2.match(response)
        if header is None or header[1] == b"p":
            raise malformed("OAUTHBEARER begins with n,a=address,")
        pairs = _pairs(response[header.end() :])
        identity = (header[3] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
        return TokenClaim(_token(pairs), text_of(identity))

    @staticmethod
    def refusal_challenge(scope: str, configuration_url: str) -> bytes:
        """RFC 7628 3.2.2."""
        answer = {"status": "invalid_token"}
        if scope:
            answer["scope"] = scope
        if configuration_url:
            answer["openid-configuration"] = configuration_url
        return json.dumps(answer).encode("ascii")


class XOAuth2:
    """`user=<address>`, `auth=Bearer <token>`, each ended by SOH, and one SOH more."""

    prompt = b""

    def step(self, response: bytes) -> TokenClaim:
        """The token and whose it is said to be."""
        pairs = _pairs(b"\x01" + response)
        if b"user" not in pairs:
            raise malformed("XOAUTH2 begins with user=")
        return TokenClaim(_token(pairs), text_of(pairs[b"user"]))

    @staticmethod
    def refusal_challenge(scope: str, configuration_url: str) -> bytes:
        """What clients of this mechanism expect."""
        del configuration_url
        return json.dumps({"status": "401", "schemes": "bearer", "scope": scope}).encode("ascii")


def _pairs(data: bytes) -> Mapping[bytes, bytes]:
    """RFC 7628 3.1: SOH, then pairs each with a SOH behind it, then one more SOH."""
    if not (data.startswith(b"\x01") and data.endswith(b"\x01\x01")):
        raise malformed("key=value pairs stand between SOH characters")
    items = data[1:-2].split(b"\x01")
    if len(items) > _MAX_PAIRS:
        raise malformed("too many key=value pairs")
    pairs: dict[bytes, bytes] = {}
    for item in items:
        match = _PAIR.fullmatch(item)
        if match is None or match[1].lower() in pairs:
            raise malformed("this is no key=value pair")
        pairs[match[1].lower()] = match[2]
    return pairs


def _token(pairs: Mapping[bytes, bytes]) -> str:
    match = _BEARER.fullmatch(pairs.get(b"auth", b""))
    if match is None:
        raise malformed("auth=Bearer and a token are needed")
    return match[1].decode("ascii")
