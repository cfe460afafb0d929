"""Makes DKIM key pairs: RSA 2048 for everybody, Ed25519 for those who know it (RFC 8301, RFC 8463)."""

from __future__ import annotations

import re
import string
from collections.abc import Collection
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailbox_app.accounts.addresses import check_domain
from mailbox_app.accounts.model import DkimKey, KeyState
from mailbox_app.errors import AccountError
from mailbox_app.proto.dkim_record import public_record

ALGORITHMS = ("rsa", "ed25519")
_RSA_BITS = 2048  # RFC 8301 3.2: longer keys do not fit into one UDP answer and are not verified by all
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def generate(
    domain: str,
    selector: str,
    algorithm: str,
    now: datetime,
    state: KeyState = KeyState.ACTIVE,
    taken: Collection[str] = (),
) -> DkimKey:
    """A new key; takes a tenth of a second for RSA. An empty selector becomes the month and the algorithm, with a letter more
    when that one is `taken`."""
    if algorithm not in ALGORITHMS:
        raise AccountError("account.bad_algorithm", f"the algorithm is one of {', '.join(ALGORITHMS)}")
    selector = selector or _free_selector(f"{algorithm[0]}{now:%Y%m}", taken)
    if not _SELECTOR.fullmatch(selector):
        raise AccountError("account.bad_selector", "a selector is 1 to 63 lower-case letters, digits and hyphens")
    return DkimKey(check_domain(domain), selector, algorithm, *key_pair(algorithm), now, state, now)


def _free_selector(name: str, taken: Collection[str]) -> str:
    for ending in ("", *string.ascii_lowercase):
        if f"{name}{ending}" not in taken:
            return f"{name}{ending}"
    raise AccountError("account.selector_exists", "there were too many keys this month; name a selector")


def key_pair(algorithm: str) -> tuple[bytes, str]:
    """A fresh key: PKCS#8 PEM, and the TXT value such as `v=DKIM1; k=rsa; p=...` (longer than 255 bytes for RSA)."""
    is_rsa = algorithm == "rsa"
    private = rsa.generate_private_key(65537, _RSA_BITS) if is_rsa else ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, public_record(private)
