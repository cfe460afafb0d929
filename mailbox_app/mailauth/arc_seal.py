"""ARC sets for mail that is passed on (RFC 8617 5.1): what this server found, sealed, so that a later receiver can rely on it.

The seal is the last thing done to a message: header and body are those that leave. It is RSA-SHA256, the only algorithm
that verifiers of ARC know for certain; a domain without an RSA key does not seal. A chain that ended, is full, or could not
be judged for want of DNS is left as it is: a wrong cv=fail would destroy for ever what others can still verify.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import BinaryIO

from mailbox_app.mailauth.arc import MAX_SETS, Chain, read_chain
from mailbox_app.mailauth.canonical import BodyHash, CanonicalHeader, body_pieces, relaxed_field
from mailbox_app.mailauth.dkim_sign import (
    DkimSigner,
    PrivateKey,
    SigningKey,
    ascii_name,
    fold_base64,
    fold_names,
    sign_data,
    signed_names,
)
from mailbox_app.mailauth.results import ArcResult, Result
from mailbox_app.proto.header import Header

# RFC 8617 4.1.2: signatures that are there are covered; Authentication-Results and ARC fields must not be.
_ALSO_SIGNED = (b"dkim-signature",)
_STATES = {Result.NONE: b"none", Result.PASS: b"pass", Result.FAIL: b"fail"}


class ArcSealer:
    """Makes ARC sets. Safe to use from several threads; for large bodies run it in one."""

    def __init__(self, signer: DkimSigner | None = None) -> None:
        self._signer = signer or DkimSigner()

    def seal(
        self,
        keys: Sequence[SigningKey],
        header: bytes,
        body: bytes | BinaryIO,
        *,
        authres: bytes,
        arc: ArcResult,
        now_seconds: int,
    ) -> bytes:
        """The three fields of the next set with their CRLFs, to be put before `header`; b"" when nothing can be sealed.

        `keys` are the sealing domain's DKIM keys; `header` is the header block as it leaves, `body` all behind its empty
        line (a file is read from where it stands); `authres` is our Authentication-Results field (`AuthResults.field`) and
        `arc` the state of the chain as received (`AuthResults.arc`). Raises `MailboxError` (`dkim.bad_key`).
        """
        key = next((each for each in keys if each.algorithm == "rsa"), None)
        state = _STATES.get(arc.result)
        if key is None or state is None or arc.ended or arc.instance >= MAX_SETS:
            return b""
        parsed = Header.parse(header)
        earlier: Sequence[bytes] = ()
        if state == b"pass":
            chain = read_chain(parsed)
            if not isinstance(chain, Chain) or len(chain.links) != arc.instance:
                return b""  # the header is not the one that was judged
            earlier = [relaxed_field(field.name, field.value) for link in chain.links for field in link.fields]
        instance = arc.instance + 1
        private = self._signer.private_key(key)
        origin = b"d=%b; s=%b" % (ascii_name(key.domain), ascii_name(key.selector))
        results = b" i=%d; %b" % (instance, _payload(authres))
        message = _message_signature(private, origin, instance, parsed, body, int(now_seconds))
        seal = b" i=%d; a=rsa-sha256; t=%d; cv=%b;\r\n\t%b;\r\n\tb=" % (instance, int(now_seconds), state, origin)
        # RFC 8617 5.1.1; of a chain that failed only the new set is sealed (5.1.2)
        sealed = [
            *earlier,
            relaxed_field(b"arc-authentication-results", results),
            relaxed_field(b"arc-message-signature", message),
            relaxed_field(b"arc-seal", seal),
        ]
        seal += fold_base64(sign_data(private, b"\r\n".join(sealed)))
        return b"ARC-Seal:%b\r\nARC-Message-Signature:%b\r\nARC-Authentication-Results:%b\r\n" % (
            seal,
            message,
            results,
        )


def _payload(authres: bytes) -> bytes:
    """The content of an Authentication-Results field."""
    return authres.partition(b":")[2].strip(b" \t\r\n")


def _message_signature(
    private: PrivateKey, origin: bytes, instance: int, header: Header, body: bytes | BinaryIO, now_seconds: int
) -> bytes:
    hashed = BodyHash(relaxed=True)
    for piece in body_pieces(body):
        hashed.update(piece)
    canonical = CanonicalHeader(header)
    names = signed_names(canonical, _ALSO_SIGNED)
    signed = canonical.select(names, relaxed=True)
    field = b" i=%d; a=rsa-sha256; c=relaxed/relaxed; t=%d;\r\n\t%b;\r\n\th=%b;\r\n\tbh=%b;\r\n\tb=" % (
        instance,
        now_seconds,
        origin,
        fold_names(names),
        base64.b64encode(hashed.digest()),
    )
    return field + fold_base64(sign_data(private, signed + relaxed_field(b"arc-message-signature", field)))
