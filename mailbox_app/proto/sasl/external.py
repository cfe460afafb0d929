"""EXTERNAL: who the client is was shown below, by its TLS certificate. RFC 4422 appendix A."""

from __future__ import annotations

from mailbox_app.proto.sasl.mechanism import CertificateClaim, malformed, text_of


class External:
    """One message: the identity, or nothing."""

    prompt = b""

    def step(self, response: bytes) -> CertificateClaim:
        """RFC 4422 A.1: UTF-8 without NUL."""
        if b"\0" in response:
            raise malformed("EXTERNAL takes no NUL")
        return CertificateClaim(text_of(response))
