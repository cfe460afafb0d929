"""A SASL client of our own: SCRAM with and without channel binding, as the RFCs tell it, sharing no code with the server."""

from __future__ import annotations

import base64
import hashlib
import hmac


class ScramClient:
    """One exchange: `first()`, then `final(server_first)`, then `check(server_final)`."""

    def __init__(
        self,
        name: str,
        password: str,
        *,
        hash_name: str = "sha256",
        nonce: str = "fyko+d2lbbFgONRv9qkxdawL",
        binding: tuple[str, bytes] | None = None,
        flag: str = "n",
        identity: str = "",
    ) -> None:
        self.hash_name = hash_name
        self.password = password.encode()
        self.nonce = nonce
        self.binding = binding[1] if binding else b""
        header = f"p={binding[0]}" if binding else flag
        self.gs2 = f"{header},{f'a={_escaped(identity)}' if identity else ''},".encode()
        self.bare = f"n={_escaped(name)},r={nonce}".encode()
        self.signature = b""

    def first(self) -> bytes:
        return self.gs2 + self.bare

    def final(self, server_first: bytes) -> bytes:
        fields = dict(item.split("=", 1) for item in server_first.decode().split(","))
        assert fields["r"].startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac(self.hash_name, self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        client_key = hmac.digest(salted, b"Client Key", self.hash_name)
        stored_key = hashlib.new(self.hash_name, client_key).digest()
        without = b"c=" + base64.b64encode(self.gs2 + self.binding) + b",r=" + fields["r"].encode()
        message = self.bare + b"," + server_first + b"," + without
        proof = bytes(a ^ b for a, b in zip(client_key, hmac.digest(stored_key, message, self.hash_name), strict=True))
        server_key = hmac.digest(salted, b"Server Key", self.hash_name)
        self.signature = hmac.digest(server_key, message, self.hash_name)
        return without + b",p=" + base64.b64encode(proof)

    def check(self, server_final: bytes) -> bool:
        return server_final == b"v=" + base64.b64encode(self.signature)


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")
