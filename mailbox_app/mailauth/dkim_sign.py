"""DKIM signatures for mail that leaves: relaxed/relaxed, oversigned, RSA-SHA256 (RFC 6376) and Ed25519-SHA256 (RFC 8463).

The body is hashed once for all keys, in pieces. Each protected field is named once more than it occurs, so none can be
added on the way. There is no l= tag: it would let anyone append to the signed text. Run it in a thread for large bodies.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from mailbox_app.errors import MailboxError
from mailbox_app.mailauth.canonical import BodyHash, body_pieces, relaxed_field
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
        self._loaded: dict[bytes, PrivateKey] = {}

    def sign(self, keys: Sequence[SigningKey], header: bytes, body: bytes | BinaryIO, now_seconds: int) -> bytes:
        """One DKIM-Signature field per key, each with its CRLF, to be put before `header`; b"" without keys.

        `header` is the header block as it will be sent; `body` all bytes after its empty line, a file read from
        where it stands. Raises `MailboxError` (`dkim.bad_key`) for a key that cannot be used.
        """
        if not keys:
            return b""
        hashed = BodyHash(relaxed=True)
        for piece in body_pieces(body):
            hashed.update(piece)
        body_hash = base64.b64encode(hashed.digest())
        names, signed = select_fields(Header.parse(header))
        return b"".join([self._sign(key, names, signed, body_hash, int(now_seconds)) for key in keys])

    def _sign(
        self, key: SigningKey, names: Sequence[bytes], signed: bytes, body_hash: bytes, now_seconds: int
    ) -> bytes:
        private = self.private_key(key)
        domain, selector = ascii_name(key.domain), ascii_name(key.selector)
        algorithm = b"rsa-sha256" if isinstance(private, rsa.RSAPrivateKey) else b"ed25519-sha256"
        field = b" v=1; a=%b; c=relaxed/relaxed;\r\n\td=%b; s=%b;\r\n\tt=%d; h=%b;\r\n\tbh=%b;\r\n\tb=" % (
            algorithm,
            domain,
            selector,
            now_seconds,
            fold_names(names),
            body_hash,
        )
        data = signed + relaxed_field(b"dkim-signature", field)
        return b"DKIM-Signature:" + field + fold_base64(sign_data(private, data)) + b"\r\n"

    def private_key(self, key: SigningKey) -> PrivateKey:
        """The key, read once and kept. Raises `MailboxError` (`dkim.bad_key`)."""
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
            self._loaded[key.private_pem] = loaded = private
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


def select_fields(header: Header, more: Sequence[bytes] = ()) -> tuple[Sequence[bytes], bytes]:
    """The names for h= and the canonical fields in that order, of the fields worth signing and those in `more`.

    Several of one name stand from the bottom up. RFC 6376 5.4.2.
    """
    names: list[bytes] = []
    signed: list[bytes] = []
    values: dict[bytes, list[bytes]] = {}
    for field in header.fields:
        values.setdefault(field.key, []).append(field.value)
    for name in (*_PROTECTED, *_SIGNED, *more):
        found = values.get(name, ())
        signed.extend(relaxed_field(name, value) + b"\r\n" for value in reversed(found))
        names.extend([name] * len(found))
    names.extend(_PROTECTED)
    return names, b"".join(signed)


def fold_names(names: Sequence[bytes]) -> bytes:
    """An h= list over several lines."""
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
