"""Whether a server's certificates lead to a given anchor and bear a name: what DANE-TA needs. RFC 5280 6.1, RFC 7671 5.2

Used where OpenSSL cannot judge by itself: the anchor is known only once the server has shown its chain (a digest in DNS). Each step
is checked (signature, names, dates, CA, key usage, path length, DNS name constraints); a critical extension that is not known here
ends the path. Nothing raises: what cannot be read leads nowhere. `cryptography` is loaded at the first use.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from cryptography import x509

MAX_CERTIFICATES = 12
"""Of a chain; OpenSSL takes 100 KB of them, and each costs a signature."""
_MAX_STEPS = 40


def sent_chain(connection: ssl.SSLObject) -> list[bytes]:
    """What the server sent, in DER, its own certificate first. Python 3.13 has a public way, older ones the one below it."""
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return list(public() or ())[:MAX_CERTIFICATES]
    inner = getattr(connection, "_sslobj", None)
    if inner is None:
        leaf = connection.getpeercert(True)
        return [leaf] if leaf else []
    return _in_der(inner.get_unverified_chain())


def built_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The chain that OpenSSL made of it with the trusted certificates it knows; it says nothing about whether it holds."""
    public = getattr(connection, "get_verified_chain", None)
    if public is not None:
        return list(public() or ())[:MAX_CERTIFICATES]
    inner = getattr(connection, "_sslobj", None)
    return [] if inner is None else _in_der(inner.get_verified_chain())


def _in_der(chain: Sequence[object] | None) -> list[bytes]:
    import _ssl

    return [
        cast("bytes", one.public_bytes(_ssl.ENCODING_DER))  # type: ignore[attr-defined]
        for one in (chain or ())[:MAX_CERTIFICATES]
    ]


def leads_to(chain: Sequence[bytes], anchor: bytes, names: Sequence[str], now: datetime) -> str:
    """ "" when the first certificate is issued under the anchor and bears one of the names; else why not."""
    from cryptography import x509

    try:
        certificates = [x509.load_der_x509_certificate(one) for one in chain[:MAX_CERTIFICATES]]
        root = x509.load_der_x509_certificate(anchor)
        if not certificates:
            return "the server sent no certificate"
        if not _bears(certificates[0], names):
            return "the certificate is for another name"
        path = _path(certificates, root, now)
        if path is None:
            return "the certificate is not issued under the published authority, or no longer valid"
        return "" if _within_constraints(path) else "the certificate's name is outside what its authority may sign"
    except Exception as error:  # noqa: BLE001 - strangers' certificates: cryptography raises many kinds, all meaning no
        return f"a certificate cannot be read ({type(error).__name__})"


def _path(
    certificates: Sequence[x509.Certificate], root: x509.Certificate, now: datetime
) -> list[x509.Certificate] | None:
    """From the server's certificate to the anchor."""
    leaf = certificates[0]
    if not _is_current(leaf, now) or not _may_serve(leaf):
        return None
    if leaf == root:  # RFC 7671 5.2.2: a server that is its own authority
        return [leaf]
    waiting, steps = [[leaf]], 0
    while waiting and steps < _MAX_STEPS:
        path = waiting.pop()
        for issuer in (root, *certificates[1:]):
            steps += 1
            if issuer in path or not _is_current(issuer, now) or not _may_issue(issuer, len(path) - 1):
                continue
            if not _issued(issuer, path[-1]):
                continue
            if issuer == root:
                return [*path, issuer]
            waiting.append([*path, issuer])
    return None


def _issued(issuer: x509.Certificate, child: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    if child.issuer != issuer.subject:
        return False
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _may_issue(certificate: x509.Certificate, below: int) -> bool:
    """A CA that may sign here; `below`: intermediate certificates under it."""
    from cryptography import x509

    if not _is_understood(certificate):
        return False
    if certificate.version is x509.Version.v1:
        return False
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return False
    if not basic.ca or (basic.path_length is not None and basic.path_length < below):
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _may_serve(certificate: x509.Certificate) -> bool:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if not _is_understood(certificate):
        return False
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _is_understood(certificate: x509.Certificate) -> bool:
    from cryptography.x509.oid import ExtensionOID

    known = {
        ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.CERTIFICATE_POLICIES,
    }  # fmt: skip
    return all(not each.critical or each.oid in known for each in certificate.extensions)


def _dns_names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found: list[str] = []
    else:
        found = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    if found:
        return found
    # RFC 7672 3.2.2: the common name only without any DNS name beside it
    commons = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(one.value).lower() for one in commons]


def _bears(certificate: x509.Certificate, names: Sequence[str]) -> bool:
    wanted = [name.lower().rstrip(".") for name in names]
    for presented in _dns_names(certificate):
        if presented in wanted:
            return True
        if not presented.startswith("*.") or presented.count(".") < 2:
            continue
        if any(name.partition(".")[2] == presented[2:] for name in wanted):
            return True
    return False


def _within_constraints(path: Sequence[x509.Certificate]) -> bool:
    from cryptography import x509

    names = [name.removeprefix("*.") for name in _dns_names(path[0])]
    for issuer in path[1:]:
        try:
            constraints = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        permitted = [one.value for one in constraints.permitted_subtrees or () if isinstance(one, x509.DNSName)]
        excluded = [one.value for one in constraints.excluded_subtrees or () if isinstance(one, x509.DNSName)]
        if any(_is_below(name, tree) for name in names for tree in excluded):
            return False
        if permitted and not all(any(_is_below(name, tree) for tree in permitted) for name in names):
            return False
    return True


def _is_below(name: str, tree: str) -> bool:
    tree = tree.lower().removeprefix(".")
    return not tree or name == tree or name.endswith(f".{tree}")
