from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from mailbox_app.config.schema import Tls
from mailbox_app.net import channel
from mailbox_app.net.channel import END_POINT, EXPORTER, UNIQUE, TlsChannel, end_point_hash, exporter_works
from mailbox_app.net.tls import TlsContexts


def shake(server_context: ssl.SSLContext, version: ssl.TLSVersion) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """(client, server) of a handshake in memory."""
    client_context = ssl.create_default_context()
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client_context.wrap_bio(to_client, to_server),
        server_context.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


@pytest.fixture
def contexts(tmp_path: Path) -> TlsContexts:
    return TlsContexts(Tls(), tmp_path, "mail.example.org")


@pytest.fixture
def afresh() -> Iterator[None]:
    channel.exporter_works.cache_clear()
    channel._library.cache_clear()
    yield
    channel.exporter_works.cache_clear()
    channel._library.cache_clear()


def test_this_interpreter_exports() -> None:
    assert exporter_works()


@pytest.mark.parametrize(("version", "kind"), [(ssl.TLSVersion.TLSv1_3, EXPORTER), (ssl.TLSVersion.TLSv1_2, UNIQUE)])
def test_both_ends_have_the_same_data_and_no_other_connection_has(
    contexts: TlsContexts, version: ssl.TLSVersion, kind: str
) -> None:
    seen = set()
    for _ in range(2):
        client, server = shake(contexts.server_context(), version)
        here = TlsChannel(server)
        assert list(here.binding_types) == [kind, END_POINT]
        there = channel.exported(client) if kind == EXPORTER else client.get_channel_binding(UNIQUE)
        assert here.binding(kind) == there
        assert there
        seen.add(there)
    assert len(seen) == 2


def test_the_end_point_is_the_certificate_of_this_connection(contexts: TlsContexts, tmp_path: Path) -> None:
    old_client, old_server = shake(contexts.server_context(), ssl.TLSVersion.TLSv1_3)
    key = rsa.generate_private_key(65537, 2048)
    pem = made(key, hashes.SHA384())
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    contexts.reload(Tls(cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key.pem")))
    new_client, new_server = shake(contexts.server_context(), ssl.TLSVersion.TLSv1_3)
    for client, server, hash_name in ((old_client, old_server, "sha256"), (new_client, new_server, "sha384")):
        certificate = client.getpeercert(binary_form=True)
        assert certificate is not None
        assert TlsChannel(server).binding(END_POINT) == hashlib.new(hash_name, certificate).digest()
        assert TlsChannel(server).binding(EXPORTER) == channel.exported(client)


def test_without_a_proof_of_the_exporter_its_types_are_not_offered(
    contexts: TlsContexts, afresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_HEAD", channel._HEAD + 8)  # an interpreter whose object is laid out another way
    assert not exporter_works()
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        _, server = shake(contexts.server_context(), version)
        assert list(TlsChannel(server).binding_types) == [END_POINT]
        assert TlsChannel(server).binding(EXPORTER) is None


def test_without_the_library_nothing_breaks(afresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(channel._ssl, "__file__")  # type: ignore[attr-defined]
    monkeypatch.setattr(channel.ctypes, "CDLL", refuse)  # type: ignore[attr-defined]
    assert not exporter_works()


def refuse(*_: object) -> None:
    raise OSError("no such library")


def test_a_connection_in_clear_has_nothing() -> None:
    clear = TlsChannel.of(None)
    assert not clear.is_tls
    assert (list(clear.binding_types), clear.binding(EXPORTER), list(clear.client_addresses)) == ([], None, [])


@pytest.mark.parametrize(
    ("algorithm", "name"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")]
)
def test_the_hash_is_the_signatures(algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512, name: str) -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        pem = made(key, algorithm)
        assert (
            end_point_hash(b"text before\n" + pem) == hashlib.new(name, ssl.PEM_cert_to_DER_cert(pem.decode())).digest()
        )


def test_a_signature_without_a_hash_has_no_end_point() -> None:
    assert end_point_hash(made(ed25519.Ed25519PrivateKey.generate(), None)) == b""
    assert end_point_hash(b"no certificate") == b""
    assert end_point_hash(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n") == b""


def made(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None,
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
