"""`${hex:...}` and `${unicode:...}` in strings; the compiler replaces them. RFC 5228 2.4.2.4."""

from __future__ import annotations

from mailbox_app.proto.sieve.words import Extension

EXTENSION = Extension(capabilities=("encoded-character",), rfc="RFC 5228 2.4.2.4")
