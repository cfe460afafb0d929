"""Address lists of header fields, read tolerantly and in linear time.

Well-formed mailboxes take one regular expression match each; from the first other item on, a small tokenizer goes
through comments, quoted strings, groups, routes and whatever else there is. Nothing raises.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class MailAddress(NamedTuple):
    """One mailbox of a header list, or a group's start or end."""

    name: bytes | None
    """The display name without its quotes, encoded words as they are; None when there is none."""
    localpart: bytes | None
    """Without quotes. At a group's start the group's name, at its end None."""
    domain: bytes | None
    """None only for a group's start and end; b"" when the address has no domain."""
    route: bytes | None = None
    """A source route before the address, as RFC 5322 4.4 has it in old mail: `@one,@two`."""


_WORD = rb'[^\s"(),:;<>@\[\]\\]'
_MAILBOX = re.compile(
    rb'\s*+(?:(?:"([^"\\\r\n]*+)"\s*+|([^"(),:;<>@\[\]\\]*+))<(' + _WORD + rb"++)@(" + _WORD + rb"++)>"
    rb"|(" + _WORD + rb"++)@(" + _WORD + rb"++))\s*+(?:,|\Z)"
)
_TOKEN = re.compile(
    rb'(\s++)|"([^"\\]*+(?:\\.[^"\\]*+)*+)"?|(\[[^\[\]]*+\]?)|([,;:<>@(])|([^\s"(),:;<>@\[]++)|[)]', re.DOTALL
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_PAREN = re.compile(rb"\\.|[()]", re.DOTALL)
_GROUP_END = MailAddress(None, None, None)
AUTHOR_BYTES = 16_384
"""A From or Reply-To field longer than this names nobody: no honest one is, and reading it would hold up everybody else."""


def comment_end(value: bytes, start: int) -> int:
    """The offset after the comment that opens at `start`, nested ones included; the end when it never closes."""
    depth = 0
    for match in _PAREN.finditer(value, start):
        token = match[0]
        if token == b"(":
            depth += 1
        elif token == b")":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(value)


def parse_address_items(value: bytes, limit: int = 10_000) -> list[MailAddress]:
    """Mailboxes and group marks of a header value, in order, at most `limit` (a header block may hold 100,000)."""
    items: list[MailAddress] = []
    position = 0
    end = len(value)
    match_mailbox = _MAILBOX.match
    while position < end and len(items) < limit:
        match = match_mailbox(value, position)
        if match is None:
            return _Reader(value, position, items, limit).read()
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if local is None:
            items.append(MailAddress(None, bare_local, bare_domain))
        else:
            name = quoted.strip() if quoted is not None else b" ".join(phrase.split())
            items.append(MailAddress(name or None, local, domain))
        position = match.end()
    return items


class _Reader:
    """The slow road: token by token from `position` to the end."""

    def __init__(self, value: bytes, position: int, items: list[MailAddress], limit: int) -> None:
        self._value = value
        self._position = position
        self._items = items
        self._limit = limit
        self._pieces: list[bytes] = []  # words of a phrase or of an address without angle brackets
        self._spaces: list[bool] = []  # whether white space stood before the piece
        self._at = -1  # index in pieces after the last "@"
        self._comment = b""
        self._angle: tuple[bytes, bytes, bytes | None] | None = None
        self._in_group = False

    def read(self) -> list[MailAddress]:
        value, end = self._value, len(self._value)
        spaced = False
        while self._position < end and len(self._items) < self._limit:
            match = _TOKEN.match(value, self._position)
            if match is None:
                self._position += 1
                continue
            space, quoted, literal, special, word = match.groups()
            self._position = match.end()
            if space is not None:
                spaced = True
                continue
            if special is not None:
                self._special(special, match.start())
            else:
                piece = quoted if quoted is not None else literal if literal is not None else word
                if piece is not None:
                    self._pieces.append(_ESCAPE.sub(rb"\1", piece) if b"\\" in piece else piece)
                    self._spaces.append(spaced)
            spaced = special == b"("
        self._flush()
        if self._in_group:
            self._items.append(_GROUP_END)
        return self._items

    def _special(self, special: bytes, start: int) -> None:
        if special == b"(":
            self._position = comment_end(self._value, start)
            self._comment = self._value[start + 1 : self._position].removesuffix(b")")
        elif special == b"<":
            self._read_angle()
        elif special == b"@":
            self._at = len(self._pieces)
        elif special == b",":
            self._flush()
        elif special == b";":
            self._flush()
            if self._in_group:
                self._items.append(_GROUP_END)
                self._in_group = False
        elif special == b":" and not self._in_group and self._angle is None:
            self._items.append(MailAddress(None, self._phrase(), None))
            self._in_group = True
            self._reset()

    def _read_angle(self) -> None:
        """The inside of `<...>`: quotes are removed, white space and comments do not count."""
        value, end, start = self._value, len(self._value), self._position
        pieces: list[bytes] = []
        route: bytes | None = None
        at = -1
        while self._position < end:
            match = _TOKEN.match(value, self._position)
            if match is None:
                self._position += 1
                continue
            _, quoted, literal, special, word = match.groups()
            if special == b"<" or (special == b"," and not (at == 0 and len(pieces) > 0)):
                break  # never closed: the next item starts here
            self._position = match.end()
            if special == b">":
                break
            if special == b"(":
                self._position = comment_end(value, match.start())
            elif special == b"@":
                at = len(pieces)
            elif special == b":" or special == b",":
                pieces.clear()  # RFC 5322 4.4: what stood before was a route
                at = -1
                route = b"".join(value[start : match.start()].split()) or None
            else:
                piece = quoted if quoted is not None else literal if literal is not None else word
                if piece is not None:
                    pieces.append(_ESCAPE.sub(rb"\1", piece) if b"\\" in piece else piece)
        if at < 0:
            self._angle = (b"".join(pieces), b"", route)
        else:
            self._angle = (b"".join(pieces[:at]), b"".join(pieces[at:]), route)

    def _phrase(self) -> bytes:
        out = b""
        words: list[bytes] = []
        for piece, spaced in zip(self._pieces, self._spaces, strict=True):
            if spaced and words:
                words.append(b" ")
            words.append(piece)
        out = b"".join(words)
        return out.strip()

    def _flush(self) -> None:
        """End of one item."""
        if self._angle is not None:
            local, domain, route = self._angle
            name = self._phrase() or self._comment.strip()
            if local or domain:
                self._items.append(MailAddress(name or None, local, domain, route))
        elif self._pieces:
            if self._at >= 0:
                local, domain = b"".join(self._pieces[: self._at]), b"".join(self._pieces[self._at :])
            else:
                local, domain = self._phrase(), b""
            self._items.append(MailAddress(self._comment.strip() or None, local, domain))
        self._reset()

    def _reset(self) -> None:
        self._pieces = []
        self._spaces = []
        self._at = -1
        self._comment = b""
        self._angle = None
