"""Builds chains set by set, with any tag changed, so that each rule can be broken alone."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
HEADER = b"From: Ann <ann@a.example>\r\nTo: list@l.example\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n"
BODY = b"Hello  all,\r\n\r\nbye \r\n\r\n"

# 768 bits: the library makes none that short, but reads one.
_SHORT = b"""-----BEGIN PRIVATE KEY-----
MIIB5wIBADANBgkqhkiG9w0BAQEFAASCAdEwggHNAgEAAmEAoknlgNdnunxXtr49
clLXmPd/fRi/NV7zfB+rWM0cOr0CPZNSK8mJCwQhb3HjHNpKkrMin3bT6x9bYHY3
mHiDdMkzMiz/9oVez/J9gz2WshdwHXsQDoXjYBctLbDrQRq1AgMBAAECYQCe7uu6
EDpfoaJtL0YSDhtijQ/nvTKU3BZsOr+dydGZnLzy/LH+e/KgPT1ZXRlkiknqvl6k
KSRA0utO42SuWvOFY9hFX22omJktraj8FwliWGWjShHSs5MLY2Q6y0fpRgkCMQDN
akDp17QtoQDbbKG7YaBPcWFmBUM8MzMPIDJ90Ru6WdYaNrVDzD8unxbgIR1LueMC
MQDKQN/57JkXXH9R3j8SSqUEZjZCSNS7QNhXX7x1qBCj/NiIQACpPyy2kZ/AWWmR
3IcCMQCh0QEf9W+Xvkx5jmL9xNNPocaTYrPreX3QfZGo8ZCBRYHXFp/Gr+BZ7rNL
jmqQm/cCMQDJvoSr69GZd+6YXzRSrpqEFOCypattTXV/UkPOqOJQcXocDpuaNyYG
xqOvXoDruikCMQCUPN1wp0B0oGfyWk5LWZBYQVkEUcHc5fkqkKLjEQBipXhoZ9uG
+QWINldp8sngvYE=
-----END PRIVATE KEY-----
"""

Tags = Mapping[str, str | None]


def short_key() -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(_SHORT, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def record(key: rsa.RSAPrivateKey = KEY) -> str:
    raw = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(raw).decode()


def relaxed(text: bytes) -> bytes:
    name, _, value = text.partition(b":")
    return name.strip().lower() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


@dataclass
class Set:
    """One set: tags to change (None takes a tag away), and what to do with the finished fields."""

    seal: Tags = field(default_factory=dict)
    message: Tags = field(default_factory=dict)
    results: str | None = None
    key: rsa.RSAPrivateKey = KEY
    after: Callable[[list[bytes]], list[bytes]] = lambda fields: fields
    """Of the finished fields: seal, message signature, results."""


def _write(tags: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in tags.items())


def _signed(
    name: str, tags: dict[str, str], change: Tags, data: bytes, key: rsa.RSAPrivateKey, *, simple: bool = False
) -> bytes:
    tags = {tag: value for tag, value in (tags | dict(change)).items() if value is not None}
    given = tags.pop("b", None)
    text = f"{name}: {_write(tags)}; b="
    if "b" in change:
        return (text + given if given is not None else text[:-4]).encode()
    signature = key.sign(
        data + (text.encode() if simple else relaxed(text.encode())), padding.PKCS1v15(), hashes.SHA256()
    )
    return text.encode() + base64.b64encode(signature)


def _body(body: bytes, *, simple: bool) -> bytes:
    if not simple:
        body = re.sub(rb"[ \t]+\r\n", b"\r\n", re.sub(rb"[ \t]+", b" ", body))
    return body.rstrip(b"\r\n") + b"\r\n"


def build(sets: Sequence[Set], header: bytes = HEADER, body: bytes = BODY) -> bytes:
    """The message with its chain."""
    lines = [line + b"\r\n" for line in header.split(b"\r\n") if line]
    earlier: list[bytes] = []
    top: list[bytes] = []
    for number, one in enumerate(sets, 1):
        results = (one.results or f"i={number}; l.example; spf=pass smtp.mailfrom=ann@a.example").encode()
        results = b"ARC-Authentication-Results: " + results
        form = (one.message.get("c") or "relaxed/relaxed").split("/")
        simple = form[0] == "simple"
        content = _body(body, simple=form[-1] == "simple")
        by_name = {relaxed(line).partition(b":")[0]: line[:-2] if simple else relaxed(line) for line in lines}
        wanted = (one.message.get("h") or "from:to:subject:mime-version").encode().lower()
        fields = b"".join(by_name[name.strip()] + b"\r\n" for name in wanted.split(b":") if name.strip() in by_name)
        message_tags = {
            "i": str(number), "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "l.example", "s": "s", "t": "12345",
            "h": "from:to:subject:mime-version", "bh": base64.b64encode(hashlib.sha256(content).digest()).decode(),
        }  # fmt: skip
        message = _signed("ARC-Message-Signature", message_tags, one.message, fields, one.key, simple=simple)
        seal_tags = {
            "i": str(number), "a": "rsa-sha256", "cv": "none" if number == 1 else "pass", "d": "l.example", "s": "s",
            "t": "12345",
        }  # fmt: skip
        sealed = b"".join(relaxed(line) + b"\r\n" for line in [*earlier, results, message])
        seal = _signed("ARC-Seal", seal_tags, one.seal, sealed, one.key)
        earlier += [results, message, seal]
        top = one.after([seal, message, results]) + top
    return b"".join(line + b"\r\n" for line in top) + header + b"\r\n" + body
