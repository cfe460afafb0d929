"""`:index` and `:last`: one field of several. RFC 5260 6."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension, Shape, Tag

_TAGS = (Tag("index", Shape.NUMBER, "index"), Tag("last", None, "index"))

EXTENSION = Extension(
    capabilities=("index",),
    rfc="RFC 5260 6",
    tags={"header": _TAGS, "address": _TAGS, "date": _TAGS},
)
