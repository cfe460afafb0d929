"""`:user` and `:detail` of addresses such as `user+detail@domain`. RFC 5233."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension, Tag

EXTENSION = Extension(
    capabilities=("subaddress",),
    rfc="RFC 5233",
    address_parts=(Tag("user", None, "subaddress", "part"), Tag("detail", None, "subaddress", "part")),
)
