"""What a server keeps of a password for SCRAM: enough to check a proof, not enough to make one. RFC 5802 3."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

HASHES = ("sha256", "sha1")
"""By `hashlib`'s names, the better one first."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """Of one password under one hash."""

    hash_name: str
    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def derive(hash_name: str, password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Slow by design: `iterations` rounds. RFC 5802 3."""
    salted = hashlib.pbkdf2_hmac(hash_name, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return ScramKeys(
        hash_name,
        salt,
        iterations,
        hashlib.new(hash_name, client_key).digest(),
        hmac.digest(salted, b"Server Key", hash_name),
    )


def is_proof(keys: ScramKeys, auth_message: bytes, proof: bytes) -> bool:
    """Whether the client has the key; takes the same time for all proofs of the right length."""
    signature = hmac.digest(keys.stored_key, auth_message, keys.hash_name)
    if len(proof) != len(signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.new(keys.hash_name, client_key).digest(), keys.stored_key)


def server_signature(keys: ScramKeys, auth_message: bytes) -> bytes:
    """The server's own proof."""
    return hmac.digest(keys.server_key, auth_message, keys.hash_name)
