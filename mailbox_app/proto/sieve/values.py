"""Strings of a script as they are when it runs: constants, or templates with `${variables}`. RFC 5229 3, RFC 5228 2.4.2.4."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailbox_app.proto.sieve.machine import Machine

Piece = str | Callable[["Machine"], str]

REFERENCE = re.compile(r"\$\{(?:((?:[A-Za-z_][A-Za-z0-9_]*+\.)*+)([A-Za-z_][A-Za-z0-9_]*+)|([0-9]{1,9}))\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*+")
_ENCODED = re.compile(r"\$\{(hex|unicode):([ \t\r\n0-9A-Fa-f]*+)\}", re.IGNORECASE)


class Text:
    """One string."""

    __slots__ = ("_pieces", "constant")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self.constant: str | None = None
        if all(isinstance(piece, str) for piece in pieces):
            self.constant = "".join(piece for piece in pieces if isinstance(piece, str))

    def value(self, machine: Machine) -> str:
        """The string now."""
        if self.constant is not None:
            return self.constant
        text = "".join([piece if isinstance(piece, str) else piece(machine) for piece in self._pieces])
        machine.spend(len(text) >> 8)
        limit = machine.limits.variable_bytes * 16
        return text if len(text) <= limit else text[:limit]


class Texts:
    """A list of strings."""

    __slots__ = ("_items", "constant")

    def __init__(self, items: Sequence[Text]) -> None:
        self._items = items
        self.constant: Sequence[str] | None = None
        constants = [item.constant for item in items if item.constant is not None]
        if len(constants) == len(items):
            self.constant = constants

    def values(self, machine: Machine) -> Sequence[str]:
        """The strings now."""
        if self.constant is not None:
            return self.constant
        return [item.value(machine) for item in self._items]


def tidy(text: str) -> str:
    """Decoded text without halves of surrogate pairs, which some charsets can write and UTF-8 cannot."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class BadCharacter(ValueError):
    """`${unicode:...}` names no character."""


def decode_encoded(text: str) -> str:
    """`${hex:...}` and `${unicode:...}` replaced; what is not well-formed stays as it is. RFC 5228 2.4.2.4."""
    if "${" not in text:
        return text
    return (
        _ENCODED.sub(lambda match: match[0] if (made := _decode(match)) is None else made, text)
        .encode("utf-8", "surrogateescape")
        .decode("utf-8", "surrogateescape")
    )


def _decode(match: re.Match[str]) -> str | None:
    digits = match[2].split()
    if not digits:
        return None
    if match[1].lower() == "hex":
        if any(len(pair) > 2 for pair in digits):
            return None
        return bytes(int(pair, 16) for pair in digits).decode("utf-8", "surrogateescape")
    codes = [int(code, 16) if len(code) < 12 else 0x110000 for code in digits]
    if any(code > 0x10FFFF or 0xD800 <= code <= 0xDFFF for code in codes):
        raise BadCharacter(match[0])
    return "".join(map(chr, codes))
