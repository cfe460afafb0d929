"""The server's certificate and TLS contexts; new files are taken up at a reload without ending a session.

The certificate is tls.cert_file and tls.key_file, else a self-signed one made once in data/certs. TLS 1.2 at
least, forward secrecy only, no compression, no renegotiation. With tls.client_ca_file clients are asked for a certificate, which
they need not have; one that no such CA signed ends the handshake. A file that cannot be used at a reload changes nothing and
raises `ConfigError`; the old certificate goes on.
"""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path
from typing import Protocol

from mailbox_app.config.schema import Tls
from mailbox_app.errors import ConfigError
from mailbox_app.net.channel import ServerContext, end_point_hash

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_SELF_SIGNED_DAYS = 3650


class ServerTls(Protocol):
    """Where a service gets the context for STARTTLS."""

    def server_context(self) -> ssl.SSLContext:
        """The context of now; it changes with the certificate."""
        ...


class TlsContexts:
    """One process's contexts. The context stays the same object over reloads, so a listener may keep it."""

    def __init__(self, settings: Tls, data_dir: Path, hostname: str) -> None:
        self._settings = settings
        self._certs_dir = data_dir / "certs"
        self._hostname = hostname
        self._context, self._certificate = self._load()
        self._present = self._context

    @property
    def self_signed(self) -> bool:
        """Whether no certificate files are configured."""
        return not self._settings.cert_file

    def server_context(self) -> ssl.SSLContext:
        """The context for new connections; what it shows follows each reload."""
        return self._context

    def reload(self, settings: Tls | None = None) -> None:
        """Read the files again, or those of new settings, for connections from now on."""
        before = self._settings
        self._settings = settings or before
        try:
            self._present, self._certificate = self._load()
        except ConfigError:
            self._settings = before
            raise
        # A chain loaded into the context in use would stand beside one of another key type, not in its place.
        self._context.sni_callback = self._hand_over
        self._context.verify_mode = (
            self._present.verify_mode
        )  # a connection keeps this one's; the CAs are the present's

    def certificate_days(self) -> int:
        """Whole days until the certificate expires; negative when it has."""
        from cryptography import x509  # 6 MB that only the process that watches the certificate needs

        certificate = x509.load_pem_x509_certificates(self._certificate)[0]
        return int((certificate.not_valid_after_utc.timestamp() - time.time()) // 86_400)

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """In each handshake, also of clients that name nobody: go on with the present certificate."""
        connection.context = self._present

    def _load(self) -> tuple[ssl.SSLContext, bytes]:
        if self._settings.cert_file:
            cert, key = Path(self._settings.cert_file), Path(self._settings.key_file)
        else:
            cert, key = ensure_self_signed(self._certs_dir, self._hostname)
        context = _new_context()
        if self._settings.client_ca_file:
            _ask_for_certificates(context, self._settings.client_ca_file)
        try:
            context.load_cert_chain(cert, key)
            pem = cert.read_bytes()
        except (OSError, ValueError) as error:
            raise ConfigError("tls.unusable", f"{cert} and {key} are not usable: {_reason(error)}") from error
        context.end_point = end_point_hash(pem)
        return context, pem


def _ask_for_certificates(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ValueError) as error:
        raise ConfigError("tls.unusable", f"{ca_file} is not usable: {_reason(error)}") from error
    context.verify_mode = ssl.CERT_OPTIONAL


def _new_context() -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def ensure_self_signed(certs_dir: Path, hostname: str) -> tuple[Path, Path]:
    """The paths of certificate and key, made when absent: EC P-256, ten years, the host name as SAN."""
    cert, key = certs_dir / "self-signed.pem", certs_dir / "self-signed.key"
    if not (cert.exists() and key.exists()):
        certs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        cert_pem, key_pem = _make_self_signed(hostname)
        _write(key, key_pem, 0o600)
        _write(cert, cert_pem, 0o644)
    return cert, key


def _make_self_signed(hostname: str) -> tuple[bytes, bytes]:
    # Imported here: needed once in a server's life.
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error}".replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, path)
