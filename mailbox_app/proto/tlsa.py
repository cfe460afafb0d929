"""TLSA records in presentation form, and what of a certificate they speak of. RFC 6698, RFC 7671, RFC 7672.

A record that SMTP cannot use (usages PKIX-TA and PKIX-EE, unknown selectors or hashes, a digest of the wrong length) is not an
error: it is unusable, and when all are, mail goes encrypted but to nobody in particular. `public_key_info` cuts a certificate's
SubjectPublicKeyInfo out as it was sent, because it is those bytes that a record's digest is about.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailbox_app.errors import ProtocolError

MAX_RECORDS = 64
_RECORD = re.compile(r"(\d{1,3})[ \t]+(\d{1,3})[ \t]+(\d{1,3})[ \t]+([0-9A-Fa-f \t]+)")
_DIGEST_BYTES = {1: 32, 2: 64}
_SEQUENCE, _VERSION = 0x30, 0xA0


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record."""

    usage: int
    """2: the CA that signed (DANE-TA); 3: the server's own certificate (DANE-EE)."""
    selector: int
    """0: the certificate; 1: its public key."""
    matching: int
    """0: itself; 1: its SHA-256; 2: its SHA-512."""
    data: bytes

    @property
    def usable(self) -> bool:
        """RFC 7672 3.1."""
        if self.usage not in (2, 3) or self.selector not in (0, 1):
            return False
        if self.matching == 0:
            return len(self.data) > 0
        return len(self.data) == _DIGEST_BYTES.get(self.matching, -1)

    def matches(self, certificate: bytes) -> bool:
        """Whether the record speaks of this certificate (DER); False also for what is none."""
        try:
            said = certificate if self.selector == 0 else public_key_info(certificate)
        except ProtocolError:
            return False
        if self.matching == 0:
            return said == self.data
        return (hashlib.sha256 if self.matching == 1 else hashlib.sha512)(said).digest() == self.data

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


def parse_tlsa(text: str) -> Tlsa:
    """One record; `ProtocolError` when it is none."""
    found = _RECORD.fullmatch(text.strip(" \t"))
    if found is None:
        raise ProtocolError("tlsa.bad_record", "the TLSA record cannot be read")
    digits = re.sub("[ \t]", "", found[4])
    if len(digits) % 2:
        raise ProtocolError("tlsa.bad_record", "the TLSA record cannot be read")
    usage, selector, matching = int(found[1]), int(found[2]), int(found[3])
    if max(usage, selector, matching) > 255:
        raise ProtocolError("tlsa.bad_record", "the TLSA record cannot be read")
    return Tlsa(usage, selector, matching, bytes.fromhex(digits))


def usable_records(texts: Sequence[str]) -> Sequence[Tlsa]:
    """The usable ones of an answer, with the strongest digest of each kind only (RFC 7671 9)."""
    records: dict[Tlsa, None] = {}
    for text in texts[:MAX_RECORDS]:
        try:
            record = parse_tlsa(text)
        except ProtocolError:
            continue
        if record.usable:
            records[record] = None
    hashed = {(one.usage, one.selector) for one in records if one.matching == 2}
    return [one for one in records if one.matching != 1 or (one.usage, one.selector) not in hashed]


def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate in DER, untouched. RFC 5280 4.1."""
    inner = _content(certificate, 0, len(certificate), _SEQUENCE)
    start, end = _content(certificate, *inner, _SEQUENCE)
    position = start
    if certificate[position : position + 1] == bytes([_VERSION]):
        position = _element(certificate, position, end)[2]
    for _ in range(5):  # serial number, signature algorithm, issuer, validity, subject
        position = _element(certificate, position, end)[2]
    tag, _, behind = _element(certificate, position, end)
    if tag != _SEQUENCE:
        raise _bad_certificate()
    return certificate[position:behind]


def _content(data: bytes, start: int, end: int, tag: int) -> tuple[int, int]:
    found, inside, behind = _element(data, start, end)
    if found != tag:
        raise _bad_certificate()
    return inside, behind


def _element(data: bytes, start: int, end: int) -> tuple[int, int, int]:
    """(tag, where the content starts, where the element ends); definite lengths of at most four octets, as DER has them."""
    if start + 2 > end:
        raise _bad_certificate()
    tag, length, inside = data[start], data[start + 1], start + 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or inside + octets > end:
            raise _bad_certificate()
        length, inside = int.from_bytes(data[inside : inside + octets]), inside + octets
    if inside + length > end:
        raise _bad_certificate()
    return tag, inside, inside + length


def _bad_certificate() -> ProtocolError:
    return ProtocolError("tlsa.bad_certificate", "the certificate cannot be read")
