"""DKIM verification: dkimpy reads and validates the signatures, OpenSSL checks them.

The body is hashed once, streamed, for all signatures (dkimpy would hold it whole and the interpreter for seconds). Key
records are fetched by the caller. Nothing here waits or raises: every outcome is a `DkimResult`. What is valid by the
mathematics but proves too little (a short key, a body signed in part) is `policy`, never `pass`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import BinaryIO

import dkim
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError

from mailbox_app.mailauth.canonical import (
    BodyHash,
    CanonicalHeader,
    body_pieces,
    relaxed_field,
    simple_field,
    without_signature,
)
from mailbox_app.mailauth.key_records import MIN_RSA_BITS, find_key
from mailbox_app.mailauth.results import DkimResult, Result
from mailbox_app.mailauth.tag_list import TagListError, parse_tags, with_known_query, without_blanks
from mailbox_app.proto.domain_names import a_labels
from mailbox_app.proto.header import Field, Header

# Each costs a DNS look-up and a public-key operation; more than ten are never honest.
MAX_SIGNATURES = 10
_MAX_FIELD_BYTES = 8_192
_MAX_SIGNED_NAMES = 200
_MAX_HEADER_FIELDS = 2_000
_USUAL_BYTES = 600
"""Of an h= tag that is worth remembering: strangers write these."""
_BYTES = re.compile("b'([^']*)'")
_MANDATORY = [b"v", b"a", b"b", b"bh", b"d", b"h", b"s"]
_DATED = (("x= value is past", "the signature has expired"), ("t= value is in the", "the signature is from the future"))

BodyForm = tuple[bool, int | None]
"""Whether relaxed, and the l= limit."""


@dataclass(frozen=True, slots=True)
class BodyHashes:
    """The hashes of one body in the forms that were asked for; a limit behind its end has none."""

    digests: Mapping[BodyForm, bytes]
    sizes: Mapping[bool, int]
    """The length of the whole canonical body, by whether relaxed."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature or ARC-Message-Signature field, read."""

    tags: Mapping[bytes, bytes]
    names: Sequence[bytes]
    """The h= list in lower case."""
    field: tuple[bytes, bytes]
    """Name and value as received."""
    relaxed: bool
    """The form of the header fields."""
    form: BodyForm
    draft: DkimResult
    """The result so far, without a verdict."""

    @property
    def key_name(self) -> str:
        """Where the key record is."""
        return key_name(self.draft.selector, self.draft.domain)


def key_name(selector: str, domain: str) -> str:
    """Where a key record stands. RFC 6376 3.6.2.1; names in UTF-8 are asked in ASCII (RFC 8616 4)."""
    return ".".join(
        part if part.isascii() else a_labels(part) or "invalid" for part in (selector, "_domainkey", domain)
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def read_signatures(header: Header) -> Sequence[Signature | DkimResult]:
    """The first signatures of a header; one that cannot be read is a result already."""
    fields = [field for field in header.fields if field.key == b"dkim-signature"][:MAX_SIGNATURES]
    return [_read(field, len(header.fields)) for field in fields]


def _read(field: Field, field_count: int) -> Signature | DkimResult:
    value = field.value
    if len(value) > _MAX_FIELD_BYTES or field_count > _MAX_HEADER_FIELDS:
        return DkimResult(Result.PERMERROR, reason="the signature or the header is too large")
    try:
        tags = parse_tags(value)
    except TagListError as error:
        return DkimResult(Result.PERMERROR, reason=f"the signature cannot be read: {error}")
    if not tags.get(b"d") or not tags.get(b"s"):
        return DkimResult(Result.PERMERROR, reason="the signature cannot be read: no domain or selector")
    draft = DkimResult(
        Result.NONE,
        domain=_text(tags[b"d"]).lower(),
        selector=_text(tags[b"s"]).lower(),
        algorithm=_text(tags.get(b"a", b"")),
        identity=_text(tags.get(b"i", b"@" + tags[b"d"])),
        signature=_text(without_blanks(tags.get(b"b", b""))[:8]),
        body_limited=b"l" in tags,
    )
    if tags.get(b"a") == b"rsa-sha1":
        # RFC 8301 3.1: SHA-1 proves nothing any more
        return replace(draft, result=Result.PERMERROR, reason="the signature algorithm is not secure")
    try:
        # its expression for base64 is quadratic in white space
        compact = {name: without_blanks(tags[name]) for name in (b"b", b"bh") if name in tags}
        dkim.validate_signature_fields({**with_known_query(tags), **compact}, _MANDATORY)
        policy = CanonicalizationPolicy.from_c_value(tags.get(b"c", b"simple/simple"))
    except (dkim.DKIMException, InvalidCanonicalizationPolicyError, ValueError, IndexError) as error:
        return _unreadable(draft, str(error))
    names = header_names(tags[b"h"])
    if b"from" not in names:
        return replace(draft, result=Result.PERMERROR, reason="the From field is not signed")  # RFC 6376 6.1.1
    if len(names) > _MAX_SIGNED_NAMES:
        return replace(draft, result=Result.PERMERROR, reason="too many signed fields")
    limit = int(tags[b"l"]) if tags.get(b"l") else None
    form = (policy.body_algorithm.name == b"relaxed", limit)
    relaxed = policy.header_algorithm.name == b"relaxed"
    return Signature(tags, names, (field.name, value), relaxed, form, draft)


def _unreadable(draft: DkimResult, error: str) -> DkimResult:
    for start, reason in _DATED:
        if error.startswith(start):
            return replace(draft, result=Result.FAIL, reason=reason)
    text = _BYTES.sub(r"\1", error)
    return replace(draft, result=Result.PERMERROR, reason=f"the signature cannot be read: {text}"[:100])


def header_names(value: bytes) -> tuple[bytes, ...]:
    """The names of an h= tag in lower case."""
    return _usual_names(value) if len(value) <= _USUAL_BYTES else _names(value)


def _names(value: bytes) -> tuple[bytes, ...]:
    return tuple(name.strip(b" \t\r\n").lower() for name in value.split(b":"))


_usual_names = lru_cache(128)(_names)
"""Most mail of a sender has the same."""


def hash_body(body: bytes | BinaryIO, forms: Sequence[BodyForm]) -> BodyHashes:
    """The body hashes in each asked form, in one pass; a file is read from where it stands."""
    hashers = {
        relaxed: BodyHash(
            relaxed=relaxed, limits=[limit for form, limit in forms if form is relaxed and limit is not None]
        )
        for relaxed in {form for form, _ in forms}
    }
    for piece in body_pieces(body):
        for hasher in hashers.values():
            hasher.update(piece)
    digests = {
        (relaxed, limit): digest for relaxed, hasher in hashers.items() for limit, digest in hasher.digests().items()
    }
    return BodyHashes(digests, {relaxed: hasher.size_bytes for relaxed, hasher in hashers.items()})


def header_digest(signature: Signature, header: CanonicalHeader, *, relaxed: bool, guard: bool) -> bytes:
    """The hash that is signed; with `guard` a second From breaks it whether it was oversigned or not. RFC 6376 3.7."""
    name, value = signature.field
    form = relaxed_field if relaxed else simple_field
    fields = header.select(signature.names, relaxed=relaxed)
    if guard:
        fields += header.spare(b"from", signature.names, relaxed=relaxed)
    return hashlib.sha256(fields + form(name, without_signature(value))).digest()


def verify(signature: Signature, header: CanonicalHeader, key_records: Sequence[str], body: BodyHashes) -> DkimResult:
    """Check one signature with the TXT records found at its key name."""
    draft = signature.draft
    try:
        claimed = base64.b64decode(without_blanks(signature.tags[b"bh"]), validate=True)
        given = base64.b64decode(without_blanks(signature.tags[b"b"]), validate=True)
    except binascii.Error:
        return replace(draft, result=Result.PERMERROR, reason="the signature is not base64")
    found = body.digests.get(signature.form)
    if found is None:  # RFC 6376 3.5: l= must not be larger than the body
        return replace(draft, result=Result.FAIL, reason="the body is shorter than what was signed")
    if claimed != found:
        return replace(draft, result=Result.FAIL, reason="the body was changed")
    key, problem = find_key(key_records, signature.tags[b"a"])
    if key is None:
        return replace(draft, result=Result.PERMERROR, reason=problem)
    draft = replace(draft, testing=key.testing, key_bits=key.bits)
    if key.exact_domain and draft.identity.rpartition("@")[2].lower() != draft.domain:
        return replace(draft, result=Result.PERMERROR, reason="the key is not for subdomains")
    if not key.verify(given, header_digest(signature, header, relaxed=signature.relaxed, guard=True)):
        return replace(draft, result=Result.FAIL, reason="the signature does not match")
    if key.bits and key.bits < MIN_RSA_BITS:  # RFC 8301 3.2
        return replace(draft, result=Result.POLICY, reason="the key is too short")
    relaxed, limit = signature.form
    if limit is not None and limit < body.sizes[relaxed]:
        # RFC 6376 8.2: anyone could have appended the rest, so this proves nothing about what a reader sees
        return replace(draft, result=Result.POLICY, reason="only a part of the body is signed")
    return replace(draft, result=Result.PASS)
