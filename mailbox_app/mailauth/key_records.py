"""DKIM key records (RFC 6376 3.6.1, RFC 8463 4): read, judged, and kept, since most mail comes from few keys."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mailbox_app.mailauth.tag_list import TagListError, parse_tags, without_blanks

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey

MIN_RSA_BITS = 1_024  # RFC 8301 3.2
# Larger moduli and exponents only cost time; nobody who signs mail uses them.
_MAX_RSA_BITS = 8_192
_MAX_EXPONENT_BITS = 64
_MAX_RECORD = 4_096
_MAX_RECORDS = 5


@dataclass(frozen=True, slots=True)
class Key:
    """A usable key."""

    public: PublicKey
    bits: int
    """Of an RSA key, else 0."""
    testing: bool
    """The record says t=y."""
    exact_domain: bool
    """The record says t=s: an i= below d= is not allowed."""

    def verify(self, signature: bytes, digest: bytes) -> bool:
        """Whether the signature fits the SHA-256 `digest`."""
        try:
            if isinstance(self.public, rsa.RSAPublicKey):
                self.public.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
            else:
                self.public.verify(signature, digest)  # RFC 8463 3: the hash is what is signed
        except (InvalidSignature, ValueError):
            return False
        return True


def find_key(records: Sequence[str], algorithm: bytes) -> tuple[Key | None, str]:
    """The first record that holds a key for `algorithm` (the a= tag), or what is wrong with the last one."""
    problem = "no key"
    for record in records[:_MAX_RECORDS]:
        found = _read(record, algorithm)
        if isinstance(found, Key):
            return found, ""
        problem = found
    return None, problem


@lru_cache(2_048)
def _read(record: str, algorithm: bytes) -> Key | str:
    if len(record) > _MAX_RECORD:
        return "the key record is too long"
    try:
        # No folding in DNS: a line break there is what somebody pasted, and means no more than a blank.
        tags = parse_tags(record.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace"))
    except TagListError:
        return "the key record cannot be read"
    problem = _unusable(tags, algorithm)
    if problem:
        return problem
    public = _public_key(tags)
    if public is None:
        return "the key cannot be read"
    bits = 0
    if isinstance(public, rsa.RSAPublicKey):
        bits = public.key_size
        if bits > _MAX_RSA_BITS or public.public_numbers().e.bit_length() > _MAX_EXPONENT_BITS:
            return "the key is too large"
    flags = _words(tags.get(b"t", b""))
    return Key(public, bits, b"y" in flags, b"s" in flags)


def _words(value: bytes) -> Sequence[bytes]:
    return [word.strip(b" \t\r\n").lower() for word in value.split(b":")]


def _unusable(tags: Mapping[bytes, bytes], algorithm: bytes) -> str:
    # RFC 6376 3.6.1: v= must stand first when it is there
    if b"p" not in tags or (b"v" in tags and (tags[b"v"] != b"DKIM1" or next(iter(tags)) != b"v")):
        return "no key"
    if not tags[b"p"]:
        return "the key was revoked"
    kind, _, hashed = algorithm.partition(b"-")
    if tags.get(b"k", b"rsa").lower() != kind:
        return "the key is of another kind"
    if hashed not in _words(tags.get(b"h", hashed)) or not {b"*", b"email"} & set(_words(tags.get(b"s", b"*"))):
        return "the key is not for this use"
    return ""


def _public_key(tags: Mapping[bytes, bytes]) -> PublicKey | None:
    try:
        raw = base64.b64decode(without_blanks(tags[b"p"]), validate=True)
        if tags.get(b"k", b"rsa").lower() == b"ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        key = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None
