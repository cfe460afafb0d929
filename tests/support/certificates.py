"""Certificates for tests: authorities, servers below them, and all that can be wrong with them."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass
class Certified:
    """A certificate with its key and those above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[Certified, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def public_key(self) -> bytes:
        return self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def chain(self) -> list[bytes]:
        return [self.der, *(one.der for one in self.above)]

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server_context(self, folder: Path, *, whole: bool = True) -> ssl.SSLContext:
        """For a server; `whole`: with all above it."""
        sent = [self, *(self.above if whole else ())]
        (folder / "server.pem").write_bytes(b"".join(one.pem() for one in sent))
        (folder / "server.key").write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        return context


def certify(
    name: str,
    issuer: Certified | None = None,
    *,
    names: Sequence[str] | None = None,
    is_ca: bool = False,
    path_length: int | None = None,
    days: tuple[int, int] = (-1, 365),
    permitted: Sequence[str] = (),
    client_only: bool = False,
    key_cert_sign: bool | None = None,
    critical_unknown: bool = False,
    now: datetime | None = None,
) -> Certified:
    """A certificate; without issuer signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = now or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names or (name,)]), critical=False
        )
    if permitted:
        trees = [x509.DNSName(one) for one in permitted]
        builder = builder.add_extension(x509.NameConstraints(trees, None), critical=True)
    if client_only:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    if key_cert_sign is not None:
        usage = x509.KeyUsage(True, False, False, False, False, key_cert_sign, False, False, False)
        builder = builder.add_extension(usage, critical=True)
    if critical_unknown:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), critical=True
        )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Certified(certificate, key, (issuer, *issuer.above) if issuer else ())
