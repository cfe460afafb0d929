"""The TXT value that publishes a DKIM key."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa


def public_record(private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    """`v=DKIM1; k=rsa; p=...`; longer than 255 bytes for RSA."""
    if isinstance(private, rsa.RSAPrivateKey):
        # RFC 6376 3.6.1: for RSA the whole SubjectPublicKeyInfo
        der = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return f"v=DKIM1; k=rsa; p={base64.b64encode(private.public_key().public_bytes(*der)).decode()}"
    # RFC 8463 4.2: for Ed25519 the bare 32 bytes
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"
