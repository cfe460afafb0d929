"""Comparators that have to be required: numbers, and letters of all scripts. RFC 4790 9.1, RFC 5051."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension

EXTENSION = Extension(
    capabilities=("comparator-i;ascii-numeric", "comparator-i;unicode-casemap"),
    rfc="RFC 4790, RFC 5051",
)
