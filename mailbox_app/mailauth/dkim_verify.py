"""DKIM verification: dkimpy reads and validates the signatures and hashes the headers, OpenSSL checks them.

The body is hashed once, streamed, for all signatures (dkimpy would hold it whole and the interpreter for seconds). Key
records are fetched by the caller. Nothing here waits or raises: every outcome is a `DkimResult`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import dkim
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError
from dkim.util import InvalidTagValueList, parse_tag_value

from mailbox_app.mailauth.canonical import BodyHash, body_pieces
from mailbox_app.mailauth.results import DkimResult, Result
from mailbox_app.proto.header import Field, Header

# Each costs a DNS look-up and a public-key operation; more than five are never honest.
MAX_SIGNATURES = 5
# dkimpy's expressions are quadratic in runs of white space, and its selection in names times fields.
_MAX_FIELD_BYTES = 8_192
_MAX_SIGNED_NAMES = 200
_MAX_HEADER_FIELDS = 2_000
_LONG_BLANKS = re.compile(rb"\s{100}")
_MIN_RSA_BITS = 1_024  # RFC 8301 3.2
_BLANK = re.compile(rb"\s+")

BodyForm = tuple[bool, int | None]
"""Whether relaxed, and the l= limit."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field, read."""

    tags: Mapping[bytes, bytes]
    names: Sequence[bytes]
    """The h= list in lower case."""
    field: tuple[bytes, bytes]
    policy: CanonicalizationPolicy
    form: BodyForm
    draft: DkimResult
    """The result so far, without a verdict."""

    @property
    def key_name(self) -> str:
        """Where the key record is."""
        return f"{self.draft.selector}._domainkey.{self.draft.domain}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def read_signatures(header: Header) -> Sequence[Signature | DkimResult]:
    """The first signatures of a header; one that cannot be read is a result already."""
    fields = [field for field in header.fields if field.key == b"dkim-signature"][:MAX_SIGNATURES]
    return [_read(field, len(header.fields)) for field in fields]


def _read(field: Field, field_count: int) -> Signature | DkimResult:
    value = field.value
    if len(value) > _MAX_FIELD_BYTES or _LONG_BLANKS.search(value) or field_count > _MAX_HEADER_FIELDS:
        return DkimResult(Result.PERMERROR, reason="the signature or the header is too large")
    reader = dkim.DKIM()
    reader.headers = [[field.name, value + b"\r\n"]]
    try:
        tags, names, _ = reader.verify_headerprep()
        policy = CanonicalizationPolicy.from_c_value(tags.get(b"c", b"simple/simple"))
    except (
        dkim.DKIMException,
        InvalidTagValueList,
        InvalidCanonicalizationPolicyError,
        ValueError,
        IndexError,
    ) as error:
        return DkimResult(Result.PERMERROR, reason=f"the signature cannot be read: {error}"[:100])
    draft = DkimResult(
        Result.NONE,
        domain=_text(tags[b"d"]).lower(),
        selector=_text(tags[b"s"]).lower(),
        algorithm=_text(tags[b"a"]),
        identity=_text(tags.get(b"i", b"@" + tags[b"d"])),
        signature=_text(_BLANK.sub(b"", tags[b"b"])[:8]),
        body_limited=b"l" in tags,
    )
    if b"from" not in names:
        return replace(draft, result=Result.PERMERROR, reason="the From field is not signed")  # RFC 6376 6.1.1
    if len(names) > _MAX_SIGNED_NAMES:
        return replace(draft, result=Result.PERMERROR, reason="too many signed fields")
    if tags[b"a"] not in (b"rsa-sha256", b"ed25519-sha256"):
        # RFC 8301 3.1: SHA-1 proves nothing any more
        return replace(draft, result=Result.PERMERROR, reason="the signature algorithm is not secure")
    limit = int(tags[b"l"]) if tags.get(b"l") else None
    form = (policy.body_algorithm.name == b"relaxed", limit)
    return Signature(tags, names, (field.name, value + b"\r\n"), policy, form, draft)


def hash_body(body: bytes | BinaryIO, forms: Sequence[BodyForm]) -> Mapping[BodyForm, bytes]:
    """The body hashes in each asked form, in one pass; a file is read from where it stands."""
    hashers = {form: BodyHash(relaxed=form[0], limit=form[1]) for form in forms}
    for piece in body_pieces(body):
        for hasher in hashers.values():
            hasher.update(piece)
    return {form: hasher.digest() for form, hasher in hashers.items()}


def verify(signature: Signature, header: Header, key_records: Sequence[str], body_hash: bytes) -> DkimResult:
    """Check one signature with the TXT records found at its key name."""
    draft = signature.draft
    try:
        claimed = base64.b64decode(_BLANK.sub(b"", signature.tags[b"bh"]))
        given = base64.b64decode(_BLANK.sub(b"", signature.tags[b"b"]))
    except binascii.Error:
        return replace(draft, result=Result.PERMERROR, reason="the signature is not base64")
    if claimed != body_hash:
        return replace(draft, result=Result.FAIL, reason="the body was changed")
    key, testing, problem = _load_key(key_records, signature)
    draft = replace(draft, testing=testing)
    if key is None:
        return replace(draft, result=Result.PERMERROR, reason=problem)
    digest = _hash_header(signature, header)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(given, digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        else:
            key.verify(given, digest)
    except (InvalidSignature, ValueError):
        return replace(draft, result=Result.FAIL, reason="the signature does not match")
    return replace(draft, result=Result.PASS)


def _hash_header(signature: Signature, header: Header) -> bytes:
    wanted = set(signature.names)
    fields = [
        (field.name, field.value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n")
        for field in header.fields
        if field.key in wanted
    ]
    hasher = hashlib.sha256()
    # A second From must break the signature whether it was oversigned or not.
    names = [*signature.names, b"from"]
    canonical = signature.policy.canonicalize_headers(fields)
    dkim.hash_headers(hasher, signature.policy, canonical, names, signature.field, signature.tags)
    return hasher.digest()


def _load_key(
    records: Sequence[str], signature: Signature
) -> tuple[rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None, bool, str]:
    """The key, whether it is in test mode, and what is wrong when there is none. RFC 6376 3.6.1 and 6.1.2."""
    problem = "no key"
    for record in records[:5]:
        try:
            tags = parse_tag_value(record.encode("latin-1", "replace"))
        except (InvalidTagValueList, IndexError):
            problem = "the key record cannot be read"
            continue
        problem = _unusable(tags, signature)
        if problem:
            continue
        testing = b"y" in [flag.strip() for flag in tags.get(b"t", b"").split(b":")]
        key = _public_key(tags)
        if key is None:
            problem = "the key cannot be read"
        elif isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
            problem = "the key is too short"
        else:
            return key, testing, ""
    return None, False, problem


def _unusable(tags: Mapping[bytes, bytes], signature: Signature) -> str:
    kind = tags.get(b"k", b"rsa").lower()
    flags = [flag.strip() for flag in tags.get(b"t", b"").split(b":")]
    algorithms = [name.strip().lower() for name in tags.get(b"h", b"sha256").split(b":")]
    services = [name.strip().lower() for name in tags.get(b"s", b"*").split(b":")]
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or b"p" not in tags:
        return "no key"
    if not tags[b"p"]:
        return "the key was revoked"
    if not signature.tags[b"a"].startswith(kind + b"-"):
        return "the key is of another kind"
    if b"sha256" not in algorithms or not {b"*", b"email"} & set(services):
        return "the key is not for this use"
    if b"s" in flags and signature.draft.identity.rpartition("@")[2].lower() != signature.draft.domain:
        return "the key is not for subdomains"
    return ""


def _public_key(tags: Mapping[bytes, bytes]) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None:
    try:
        raw = base64.b64decode(_BLANK.sub(b"", tags[b"p"]))
        if tags.get(b"k", b"rsa").lower() == b"ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        key = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        return None
    return key if isinstance(key, rsa.RSAPublicKey) else None
