"""New DKIM keys: the private half as PEM, the public half as the text of the DNS record."""

from __future__ import annotations

import base64
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

Algorithm = Literal["rsa", "ed25519"]


def generate_key(algorithm: Algorithm) -> tuple[bytes, str]:
    """A fresh key: PKCS#8 PEM, and the TXT value such as `v=DKIM1; k=rsa; p=...` (longer than 255 bytes for RSA).

    RSA keys have 2,048 bits: RFC 8301 3.2 asks for at least that, and longer ones do not fit many DNS editors.
    """
    if algorithm == "rsa":
        key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = rsa.generate_private_key(65_537, 2_048)
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        key = ed25519.Ed25519PrivateKey.generate()
        # RFC 8463 4: the bare 32 bytes, not wrapped
        public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, f"v=DKIM1; k={algorithm}; p={base64.b64encode(public).decode('ascii')}"
