"""What a TLS connection tells about itself: channel binding data and the addresses in the client's certificate.

tls-exporter (RFC 9266) needs keying material that Python's ssl module does not hand out, so OpenSSL is asked directly, through the
very library `_ssl` is linked to and the SSL pointer inside its object. Where that pointer lies is not promised by
anybody: `exporter_works` proves it once, in memory, with a handshake whose two ends must agree, and every use compares the
object's neighbouring field with the context Python knows. When either fails the type is not offered. Only with TLS 1.3, where
the binding is unique without further conditions; with TLS 1.2 there is tls-unique (RFC 5929 3) instead, but only when the master
secret depends on the whole handshake (RFC 7627). tls-server-end-point (RFC 5929 4) comes from the certificate in use.
"""

from __future__ import annotations

import _ssl
import base64
import ctypes
import functools
import hashlib
import re
import ssl
from asyncio import BaseTransport
from collections.abc import Sequence

EXPORTER = "tls-exporter"
UNIQUE = "tls-unique"
END_POINT = "tls-server-end-point"
_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 2
_BYTES = 32
_GET_EXTMS_SUPPORT = 122
"""SSL_CTRL_GET_EXTMS_SUPPORT of OpenSSL's ssl.h."""
_HEAD = object.__basicsize__
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_OID = 6
_RSA, _ECDSA = "2a864886f70d0101", "2a8648ce3d04"
_SIGNATURE_HASHES = {
    _RSA + "04": "sha256", _RSA + "05": "sha256", _RSA + "0e": "sha224", _RSA + "0b": "sha256", _RSA + "0c": "sha384",
    _RSA + "0d": "sha512", _ECDSA + "01": "sha256", _ECDSA + "0301": "sha224", _ECDSA + "0302": "sha256",
    _ECDSA + "0303": "sha384", _ECDSA + "0304": "sha512",
}  # fmt: skip
"""Signature algorithms by their object identifier -> hash; SHA-256 in the place of MD5 and SHA-1 (RFC 5929 4.1). Ed25519 and
PSS have no single hash function. Read by hand: `cryptography` is 6 MB that a front has no other use for."""


class ServerContext(ssl.SSLContext):
    """A context that knows its certificate."""

    end_point = b""
    """The certificate's hash as RFC 5929 4.1 wants it; empty when unknown."""


class TlsChannel:
    """The facts of one connection; asked for when needed, so that a connection without SASL pays nothing."""

    __slots__ = ("_tls",)

    def __init__(self, tls: ssl.SSLObject | ssl.SSLSocket | None) -> None:
        self._tls = tls

    @classmethod
    def of(cls, transport: BaseTransport | None) -> TlsChannel:
        """Of an asyncio transport, with TLS or without."""
        return cls(None if transport is None else transport.get_extra_info("ssl_object"))

    @property
    def is_tls(self) -> bool:
        """Whether it is encrypted."""
        return self._tls is not None

    @property
    def binding_types(self) -> Sequence[str]:
        """The best first."""
        if self._tls is None:
            return ()
        found = []
        if self._tls.version() == "TLSv1.3" and exporter_works():
            found.append(EXPORTER)
        if self._tls.version() == "TLSv1.2" and has_extended_master_secret(self._tls):
            found.append(UNIQUE)
        if getattr(self._tls.context, "end_point", b""):
            found.append(END_POINT)
        return found

    def binding(self, kind: str) -> bytes | None:
        """The data of a type, or None."""
        if self._tls is None or kind not in self.binding_types:
            return None
        if kind == EXPORTER:
            return exported(self._tls)
        if kind == UNIQUE:
            return self._tls.get_channel_binding(UNIQUE)
        data: bytes = getattr(self._tls.context, "end_point", b"")
        return data

    @property
    def client_addresses(self) -> Sequence[str]:
        """Addresses in the certificate the client showed; it was verified in the handshake, or there is none."""
        certificate = None if self._tls is None else self._tls.getpeercert()
        if not certificate:
            return ()
        found = [str(pair[1]) for pair in certificate.get("subjectAltName", ()) if pair[0] == "email"]
        if not found:  # RFC 5280 4.1.2.6: older certificates have it in the subject
            pairs = [pair for part in certificate.get("subject", ()) for pair in part]
            found = [str(pair[1]) for pair in pairs if pair[0] == "emailAddress"]
        return found


def end_point_hash(certificate_pem: bytes) -> bytes:
    """tls-server-end-point of the first certificate of a chain; empty where none is defined. RFC 5929 4.1."""
    found = _CERTIFICATE.search(certificate_pem)
    if found is None:
        return b""
    der = base64.b64decode(found[1])
    try:
        _, body, _ = _element(der, 0)
        _, _, after_tbs = _element(der, body)
        _, algorithm, _ = _element(der, after_tbs)
        tag, start, end = _element(der, algorithm)
    except IndexError:
        return b""
    name = _SIGNATURE_HASHES.get(der[start:end].hex()) if tag == _OID else None
    return hashlib.new(name, der).digest() if name else b""


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the content of the DER element at this place; IndexError beyond the end."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    return tag, start, start + length


def exported(tls: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """RFC 9266: the same 32 bytes at both ends and on no other connection; None when they cannot be had."""
    library, pointer = _library(), _pointer(tls)
    if library is None or pointer is None:
        return None
    out = ctypes.create_string_buffer(_BYTES)
    done = library.SSL_export_keying_material(pointer, out, _BYTES, _LABEL, len(_LABEL), None, 0, 0)
    return out.raw if done == 1 else None


def has_extended_master_secret(tls: ssl.SSLObject | ssl.SSLSocket) -> bool:
    """RFC 7627; False also when it cannot be found out."""
    library, pointer = _library(), _pointer(tls)
    return bool(
        library is not None
        and pointer is not None
        and exporter_works()
        and library.SSL_ctrl(pointer, _GET_EXTMS_SUPPORT, 0, None) == 1
    )


def _pointer(tls: ssl.SSLObject | ssl.SSLSocket) -> int | None:
    """OpenSSL's object of the connection."""
    inner = getattr(tls, "_sslobj", None)
    if inner is None:
        return None
    # struct PySSLSocket { PyObject_HEAD; PyObject *Socket; SSL *ssl; PySSLContext *ctx; ... }
    ssl_pointer = ctypes.c_void_p.from_address(id(inner) + _HEAD + _POINTER).value
    context_pointer = ctypes.c_void_p.from_address(id(inner) + _HEAD + 2 * _POINTER).value
    return ssl_pointer if context_pointer == id(inner.context) else None


@functools.cache
def exporter_works() -> bool:
    """Proved by a handshake in memory, once in a process: some milliseconds."""
    if _library() is None or _ssl._SSLSocket.__basicsize__ < _HEAD + 3 * _POINTER:  # type: ignore[attr-defined]
        return False  # not the object we know
    try:
        first, second = _handshake(), _handshake()
    except ssl.SSLError:  # a library built without anonymous ciphers: nothing can be proved
        return False
    values = [None if end is None else exported(end) for end in (*first, *second)]
    return None not in values and values[0] == values[1] and values[2] == values[3] and values[0] != values[2]


@functools.cache
def _library() -> ctypes.CDLL | None:
    path = getattr(_ssl, "__file__", None)  # absent where it is built into the interpreter
    try:
        library = ctypes.CDLL(path)
        export, control = library.SSL_export_keying_material, library.SSL_ctrl
    except (OSError, AttributeError):
        return None
    control.restype = ctypes.c_long
    control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    export.restype = ctypes.c_int
    export.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
        ctypes.c_size_t, ctypes.c_int,
    ]  # fmt: skip
    return library


def _handshake() -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection in memory. Anonymous, so that it needs no certificate; nothing secret goes over it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = _anonymous(ssl.PROTOCOL_TLS_SERVER).wrap_bio(to_server, to_client, server_side=True)
    client = _anonymous(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(to_client, to_server)
    for _ in range(10):
        waiting = False
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            break
    return client, server


def _anonymous(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    return context
