"""A server always has a certificate, and a reload never makes it worse."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailbox_app.config.schema import Tls
from mailbox_app.errors import ConfigError
from mailbox_app.net.tls import TlsContexts, ensure_self_signed


def handshake(context: ssl.SSLContext, *, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The certificate a client is shown."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.maximum_version = highest
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            context.wrap_socket(ours, server_side=True).close()
        except (ssl.SSLError, OSError):
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context.wrap_socket(theirs) as client:
            shown = client.getpeercert(binary_form=True)
            assert shown is not None
            return shown
    finally:
        theirs.close()
        thread.join()


def test_a_self_signed_certificate_is_made_once(tmp_path: Path) -> None:
    tls = TlsContexts(Tls(), tmp_path, "mail.example.org")
    shown = handshake(tls.server_context())
    assert handshake(TlsContexts(Tls(), tmp_path, "mail.example.org").server_context()) == shown
    assert (tmp_path / "certs" / "self-signed.key").stat().st_mode & 0o777 == 0o600
    assert 3600 < tls.certificate_days() < 3651


def test_old_tls_is_refused(tmp_path: Path) -> None:
    tls = TlsContexts(Tls(), tmp_path, "mail.example.org")
    handshake(tls.server_context(), highest=ssl.TLSVersion.TLSv1_2)
    with pytest.raises((ssl.SSLError, OSError, ValueError)), pytest.warns(DeprecationWarning, match="TLSv1"):
        handshake(tls.server_context(), highest=ssl.TLSVersion.TLSv1_1)


def test_a_reload_takes_new_files_and_keeps_the_old_on_error(tmp_path: Path) -> None:
    first, second = ensure_self_signed(tmp_path / "a", "a.example"), ensure_self_signed(tmp_path / "b", "b.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(first[0], cert)
    shutil.copy(first[1], key)
    tls = TlsContexts(Tls(cert_file=str(cert), key_file=str(key)), tmp_path, "mail.example.org")
    old = handshake(tls.server_context())
    shutil.copy(second[0], cert)
    with pytest.raises(ConfigError, match="not usable: key values mismatch"):
        tls.reload()
    assert handshake(tls.server_context()) == old
    shutil.copy(second[1], key)
    tls.reload()
    assert handshake(tls.server_context()) == ssl.PEM_cert_to_DER_cert(second[0].read_text())


def test_a_certificate_of_another_key_type_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    tls = TlsContexts(Tls(), tmp_path, "mail.example.org")
    listener_context = tls.server_context()
    own = handshake(listener_context)
    cert, key = tmp_path / "rsa.pem", tmp_path / "rsa.key"
    make_rsa(cert, key)
    tls.reload(Tls(cert_file=str(cert), key_file=str(key)))
    assert handshake(listener_context) == ssl.PEM_cert_to_DER_cert(cert.read_text())
    assert handshake(tls.server_context(), highest=ssl.TLSVersion.TLSv1_2) == handshake(listener_context)
    tls.reload(Tls())
    assert handshake(listener_context) == own


def make_rsa(cert: Path, key: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.example.org")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=9))
        .sign(private, hashes.SHA256())
    )
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        TlsContexts(Tls(cert_file="/none.pem", key_file="/none.key"), tmp_path, "mail.example.org")
