"""`:count` and `:value`. RFC 5231."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension, Shape, Tag

EXTENSION = Extension(
    capabilities=("relational",),
    rfc="RFC 5231",
    match_types=(
        Tag("count", Shape.STRING, "relational", "match"),
        Tag("value", Shape.STRING, "relational", "match"),
    ),
)
