"""Reads back what sorting needs from an ENVELOPE as it is stored: date, subject, the first From, To and Cc address.

Most envelopes hold no literal and are read by one regular expression; the others element by element. What is not an
ENVELOPE gives one without anything.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_S = rb'(?:NIL|"(?:[^"\\]|\\.)*+")'
_A = rb"\(" + rb" ".join([_S] * 4) + rb"\)"
_LIST = rb"(?:NIL|\((?:" + _A + rb")++\))"
_FIRST = rb"(?:NIL|\((" + _A + rb")(?:" + _A + rb")*+\))"
_WHOLE = re.compile(
    rb"\((" + _S + rb") (" + _S + rb") " + _FIRST + b" " + _LIST + b" " + _LIST + b" " + _FIRST + b" " + _FIRST + b" "
)
_HEAD = re.compile(rb"\((" + _S + rb") (" + _S + rb") ")
_FOUR = re.compile(rb"\((" + rb") (".join([_S] * 4) + rb")\)")
_TOKEN = re.compile(rb'\s*+(?:(\()|(\))|NIL|"((?:[^"\\]|\\.)*+)"|\{(\d{1,9})\}\r\n)')
_ESCAPED = re.compile(rb"\\(.)")
_DEPTH = 4


class StoredAddress(NamedTuple):
    """One address of an ENVELOPE; None is NIL."""

    name: bytes | None
    mailbox: bytes | None
    host: bytes | None


class StoredEnvelope(NamedTuple):
    """None is NIL."""

    date: bytes | None
    subject: bytes | None
    first_from: StoredAddress | None
    first_to: StoredAddress | None
    first_cc: StoredAddress | None


_NOTHING = StoredEnvelope(None, None, None, None, None)


def read_envelope(data: bytes) -> StoredEnvelope:
    """All that is kept of one ENVELOPE."""
    match = _WHOLE.match(data)
    if match is None:
        return _slowly(data)
    date, subject, first_from, first_to, first_cc = match.groups()
    return StoredEnvelope(_plain(date), _plain(subject), _address(first_from), _address(first_to), _address(first_cc))


def read_date_and_subject(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The first two elements only."""
    match = _HEAD.match(data)
    if match is None:
        return _slowly(data)[:2]
    return _plain(match[1]), _plain(match[2])


def _plain(text: bytes) -> bytes | None:
    if text == b"NIL":
        return None
    text = text[1:-1]
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def _address(text: bytes | None) -> StoredAddress | None:
    match = _FOUR.match(text) if text else None
    if match is None:
        return None
    return StoredAddress(_plain(match[1]), _plain(match[3]), _plain(match[4]))


_Item = bytes | None | list["_Item"]


def _slowly(data: bytes) -> StoredEnvelope:
    items = _items(data)
    if len(items) < 8:
        return _NOTHING
    date, subject = items[0], items[1]
    first_from, first_to, first_cc = (_first(items[index]) for index in (2, 5, 6))
    return StoredEnvelope(
        date if isinstance(date, bytes) else None,
        subject if isinstance(subject, bytes) else None,
        first_from,
        first_to,
        first_cc,
    )


def _first(item: _Item) -> StoredAddress | None:
    if not isinstance(item, list) or not item or not isinstance(item[0], list) or len(item[0]) != 4:
        return None
    name, _, mailbox, host = [part if isinstance(part, bytes) else None for part in item[0]]
    return StoredAddress(name, mailbox, host)


def _items(data: bytes) -> list[_Item]:
    """The elements of one parenthesised list with lists in it."""
    top: list[_Item] = []
    stack = [top]
    position = 0
    while position < len(data):
        match = _TOKEN.match(data, position)
        if match is None or len(stack) > _DEPTH:
            return []
        position = match.end()
        opening, closing, quoted, literal = match.groups()
        if opening is not None:
            deeper: list[_Item] = []
            stack[-1].append(deeper)
            stack.append(deeper)
        elif closing is not None:
            stack.pop()
            if len(stack) <= 1:
                break
        elif literal is not None:
            stack[-1].append(data[position : position + int(literal)])
            position += int(literal)
        else:
            stack[-1].append(_ESCAPED.sub(rb"\1", quoted) if quoted is not None else None)
    return top[0] if top and isinstance(top[0], list) else []
