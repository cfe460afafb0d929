"""`:regex`, and `:quoteregex` for what comes from a variable. The regular expressions draft (draft-ietf-sieve-regex)."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension, Tag

EXTENSION = Extension(
    capabilities=("regex",),
    rfc="draft-ietf-sieve-regex",
    match_types=(Tag("regex", None, "regex", "match"),),
    tags={"set": (Tag("quoteregex", None, "regex", "priority 20"),)},
)
