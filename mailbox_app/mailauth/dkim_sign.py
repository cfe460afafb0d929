"""DKIM signatures for mail that leaves: relaxed/relaxed, oversigned, RSA-SHA256 (RFC 6376) and Ed25519-SHA256 (RFC 8463).

The body is hashed once for all keys, in pieces. Each protected field is named once more than it occurs, so none can be
added on the way. There is no l= tag: it would let anyone append to the signed text. What was signed is read back by the verifier
before it is handed out, so no signature leaves that our own checks would not pass. Run it in a thread for large bodies.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from mailbox_app.errors import MailboxError
from mailbox_app.mailauth.canonical import BodyHash, CanonicalHeader, body_pieces, relaxed_field
from mailbox_app.mailauth.dkim_verify import BodyHashes, Signature, header_names, verify
from mailbox_app.mailauth.results import DkimResult, Result
from mailbox_app.mailauth.tag_list import parse_tags
from mailbox_app.proto.dkim_record import public_record
from mailbox_app.proto.domain_names import a_labels
from mailbox_app.proto.header import Header

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

# Signed when present, and named once more than present. RFC 6376 5.4.1 and 8.15
_PROTECTED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"in-reply-to",
    b"references",
    b"sender",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
# Signed when present, but lists and forwarders may add them.
_SIGNED = (
    b"content-id",
    b"content-description",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
    b"auto-submitted",
)
_LINE = 76
_CACHED_KEYS = 1_000
_SAFE_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,250}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key of a domain."""

    domain: str
    selector: str
    algorithm: Literal["rsa", "ed25519"]
    private_pem: bytes


class DkimSigner:
    """Makes DKIM-Signature fields; keeps loaded private keys. Safe to use from several threads."""

    def __init__(self) -> None:
        self._loaded: dict[bytes, tuple[PrivateKey, str]] = {}
        """By PEM: the key, and its record as it would be published."""

    def sign(
        self, keys: Sequence[SigningKey], header: bytes | Header, body: bytes | BinaryIO, now_seconds: int
    ) -> bytes:
        """One DKIM-Signature field per key, each with its CRLF, to be put before `header`; b"" without keys.

        `header` is the header block as it will be sent, or what was read from it; `body` all bytes after its empty line, a file
        read from where it stands. Raises `MailboxError` (`dkim.bad_key`, `dkim.not_verified`) for a key that cannot be used.
        """
        if not keys:
            return b""
        hashed = BodyHash(relaxed=True)
        for piece in body_pieces(body):
            hashed.update(piece)
        digest = hashed.digest()
        canonical = CanonicalHeader(Header.parse(header) if isinstance(header, bytes) else header)
        names = signed_names(canonical)
        signed, listed, body_hash = canonical.select(names, relaxed=True), fold_names(names), base64.b64encode(digest)
        fields = [self._sign(key, listed, signed, body_hash, int(now_seconds)) for key in keys]
        body_hashes = BodyHashes({(True, None): digest}, {True: hashed.size_bytes})
        for key, field in zip(keys, fields, strict=True):
            self._check(key, field, canonical, body_hashes)
        return b"".join(fields)

    def _check(self, key: SigningKey, field: bytes, header: CanonicalHeader, body: BodyHashes) -> None:
        """What a receiver with the key's record would find."""
        [parsed] = Header.parse(field).fields
        tags = parse_tags(parsed.value)
        draft = DkimResult(Result.NONE, domain=tags[b"d"].decode(), identity="@" + tags[b"d"].decode())
        signature = Signature(tags, header_names(tags[b"h"]), (parsed.name, parsed.value), True, (True, None), draft)
        found = verify(signature, header, [self._key(key)[1]], body)
        if found.result is not Result.PASS:
            raise MailboxError(
                "dkim.not_verified",
                "A signature could not be verified.",
                temporary=True,
                fields={"selector": key.selector, "reason": found.reason},
            )

    def _sign(self, key: SigningKey, listed: bytes, signed: bytes, body_hash: bytes, now_seconds: int) -> bytes:
        private = self.private_key(key)
        domain, selector = ascii_name(key.domain), ascii_name(key.selector)
        algorithm = b"rsa-sha256" if isinstance(private, rsa.RSAPrivateKey) else b"ed25519-sha256"
        field = b" v=1; a=%b; c=relaxed/relaxed;\r\n\td=%b; s=%b;\r\n\tt=%d; h=%b;\r\n\tbh=%b;\r\n\tb=" % (
            algorithm,
            domain,
            selector,
            now_seconds,
            listed,
            body_hash,
        )
        data = signed + relaxed_field(b"dkim-signature", field)
        return b"DKIM-Signature:" + field + fold_base64(sign_data(private, data)) + b"\r\n"

    def private_key(self, key: SigningKey) -> PrivateKey:
        """The key, read once and kept. Raises `MailboxError` (`dkim.bad_key`)."""
        return self._key(key)[0]

    def _key(self, key: SigningKey) -> tuple[PrivateKey, str]:
        loaded = self._loaded.get(key.private_pem)
        if loaded is None:
            try:
                private = serialization.load_pem_private_key(key.private_pem, None)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise MailboxError(
                    "dkim.bad_key", "A signing key cannot be read.", temporary=True, fields={"selector": key.selector}
                ) from error
            if not isinstance(private, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
                raise MailboxError("dkim.bad_key", "A signing key is of an unknown kind.", temporary=True)
            if len(self._loaded) >= _CACHED_KEYS:
                self._loaded.clear()
            self._loaded[key.private_pem] = loaded = (private, public_record(private))
        return loaded


def sign_data(private: PrivateKey, data: bytes) -> bytes:
    """The signature of canonical data in base64."""
    if isinstance(private, rsa.RSAPrivateKey):
        return base64.b64encode(private.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    # RFC 8463 3: the hash is what is signed
    return base64.b64encode(private.sign(hashlib.sha256(data).digest()))


def ascii_name(name: str) -> bytes:
    """A domain or selector as it is written into a tag."""
    text = name if name.isascii() else a_labels(name) or ""
    if not _SAFE_NAME.fullmatch(text):
        raise MailboxError("dkim.bad_key", "A signing key has no usable domain or selector.", temporary=True)
    return text.lower().encode("ascii")


def signed_names(header: CanonicalHeader, more: Sequence[bytes] = ()) -> tuple[bytes, ...]:
    """The names for h=: of the fields worth signing and those in `more`, as often as they occur; the protected ones once more."""
    return (*header.names((*_PROTECTED, *_SIGNED, *more)), *_PROTECTED)


@lru_cache(256)
def fold_names(names: tuple[bytes, ...]) -> bytes:
    """An h= list over several lines; most mail has the same."""
    lines: list[bytes] = []
    line = names[0]
    for name in names[1:]:
        room = _LINE - 16 if not lines else _LINE
        if len(line) + 1 + len(name) > room:
            lines.append(line)
            line = name
        else:
            line += b":" + name
    return b":\r\n\t".join([*lines, line])


def fold_base64(value: bytes) -> bytes:
    """A b= value over several lines."""
    return b"\r\n\t".join([value[start : start + _LINE - 4] for start in range(0, len(value), _LINE - 4)])
