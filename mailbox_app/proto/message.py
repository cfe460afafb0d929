"""A message read once, in pieces, in constant memory: everything a listing will ever need comes out of one pass."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a delivery computes once, so that no listing ever opens the file again."""

    envelope: bytes
    """The IMAP ENVELOPE value with its parentheses; strings are quoted or literals."""
    bodystructure: bytes
    """The IMAP BODYSTRUCTURE value with extension data."""
    body: bytes
    """The IMAP BODY value (without extension data)."""
    header: bytes
    """The raw header block with its empty line; b"" when longer than the scanner's limit (then read from the file)."""
    parts: bytes
    """The encoded part table: byte ranges of every MIME part (see `proto.mime`)."""
